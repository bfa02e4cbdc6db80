import { type ExecFileException, execFile, execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A terminal of a test's own: a tmux server with one pane. Waiting is up to the caller, who looks at the screen. */
export interface Terminal {
  /** What the pane shows, a line each, without colours. */
  screen(): Promise<string>;
  /** The same with the escapes of its colours. */
  colourScreen(): Promise<string>;
  /** Whether the alternate screen is shown: the console's, not that of the shell. */
  isAlternate(): Promise<boolean>;
  /** Presses keys, by the names that tmux has for them. */
  press(...keys: string[]): Promise<void>;
  /** Types text as it is. */
  type(text: string): Promise<void>;
  /** Ends the server, and with it what runs in the pane. */
  close(): Promise<void>;
}

/** What runs in a terminal. */
export interface TerminalOptions {
  readonly columns: number;
  readonly rows: number;
  /** A line for the shell. */
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Opens one. The pane stays when the command has ended. */
export async function openTerminal({ columns, rows, command, env }: TerminalOptions): Promise<Terminal> {
  const socket = `muster-test-${process.pid}-${randomUUID().slice(0, 8)}`;
  const tmux = async (...words: string[]): Promise<string> => {
    const { stdout } = await run("tmux", ["-L", socket, "-f", "/dev/null", ...words]);
    return stdout;
  };
  const settings = Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  const size = ["-x", String(columns), "-y", String(rows)];
  await tmux("new-session", "-d", ...size, ...settings, `${command}; exec cat`);
  return {
    screen: () => tmux("capture-pane", "-p"),
    colourScreen: () => tmux("capture-pane", "-p", "-e"),
    isAlternate: async () => (await tmux("display-message", "-p", "#{alternate_on}")).trim() === "1",
    press: async (...keys) => void (await tmux("send-keys", ...keys)),
    type: async (text) => void (await tmux("send-keys", "-l", text)),
    close: async () => {
      await tmux("kill-server").catch((error: ExecFileException) => {
        if (error.code !== 1) throw error;
      });
    },
  };
}

/** Whether this machine has what terminals need. */
export function hasTerminals(): boolean {
  try {
    execFileSync("tmux", ["-V"]);
    return true;
  } catch {
    return false;
  }
}
