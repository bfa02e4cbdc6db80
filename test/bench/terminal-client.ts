import { type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { sharedMs } from "./clock.ts";

/** A terminal of a size that nobody looks at: tmux, on a socket of its own, by one client that stays. */
export interface TerminalClient {
  /** Runs a command line in a pane of its own, instead of the one before; answers when that was asked. */
  run(command: string, environment: Readonly<Record<string, string>>): Promise<number>;
  /** Process of the pane: the command itself. */
  pid(): Promise<number>;
  /** Types keys, as `tmux send-keys` names them; answers when that was asked. */
  press(...keys: string[]): number;
  /** Resolves with the time when output of the pane had the text; rejects after so long. */
  saw(text: string, withinMs: number): Promise<number>;
  /** The screen as it is. */
  screen(): Promise<string>;
  /** Hears of what the pane writes. */
  onOutput(listen: (bytes: string) => void): void;
  close(): Promise<void>;
}

const run = promisify(execFile);

/** Opens it. Throws where there is no tmux. */
export async function openTerminalClient(columns: number, rows: number): Promise<TerminalClient> {
  const socket = `muster-bench-${process.pid}-${randomUUID().slice(0, 8)}`;
  const tmux = async (...words: string[]): Promise<string> =>
    (await run("tmux", ["-L", socket, "-f", "/dev/null", ...words])).stdout;
  const size = ["-x", String(columns), "-y", String(rows)];
  // The window of a session that nobody is attached to keeps its size.
  await tmux("new-session", "-d", ...size, "exec cat", ";", "set", "-g", "window-size", "manual");
  await tmux("set", "-g", "status", "off");
  await tmux("set", "-g", "remain-on-exit", "on");
  await tmux("resize-window", ...size);
  const client = spawn("tmux", ["-L", socket, "-f", "/dev/null", "-C", "attach-session"], { stdio: "pipe" });
  const listeners = new Set<(bytes: string) => void>();
  listenTo(client, listeners);
  const tell = (command: string): number => {
    const askedMs = sharedMs();
    client.stdin.write(`${command}\n`);
    return askedMs;
  };
  return {
    run: async (command, environment) => {
      const given = Object.entries(environment).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
      const askedMs = sharedMs();
      await tmux("respawn-pane", "-k", ...given, `exec ${command}`);
      return askedMs;
    },
    pid: async () => Number(await tmux("display-message", "-p", "#{pane_pid}")),
    press: (...keys) => tell(`send-keys ${keys.join(" ")}`),
    saw: (text, withinMs) =>
      new Promise((resolve, reject) => {
        let tail = "";
        const end = (settle: () => void): void => {
          listeners.delete(listen);
          clearTimeout(timer);
          settle();
        };
        const listen = (bytes: string): void => {
          tail += bytes;
          if (tail.includes(text)) end(() => resolve(sharedMs()));
          tail = tail.slice(-text.length);
        };
        const timer = setTimeout(
          () => end(() => reject(new Error(`the console showed no ${JSON.stringify(text)}`))),
          withinMs,
        );
        listeners.add(listen);
      }),
    screen: () => tmux("capture-pane", "-p"),
    onOutput: (listen) => listeners.add(listen),
    close: async () => {
      client.kill();
      await tmux("kill-server").catch(() => undefined);
    },
  };
}

// Control mode tells what the pane writes in lines, with what is no plain byte in octal.
function listenTo(
  { stdout }: ChildProcessWithoutNullStreams,
  listeners: ReadonlySet<(bytes: string) => void>,
): void {
  createInterface({ input: stdout.setEncoding("latin1") }).on("line", (line) => {
    const [, escaped] = /^%output %\d+ (.*)$/s.exec(line) ?? [];
    if (escaped === undefined) return;
    const bytes = escaped.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const text = Buffer.from(bytes, "latin1").toString("utf8");
    for (const listen of listeners) listen(text);
  });
}
