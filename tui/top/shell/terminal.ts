import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { editorOf, runEditor } from "../../input/editor.ts";

/** What the console asks of the terminal besides showing lines. */
export interface Terminal {
  /** Writes an escape sequence of ours. */
  readonly write: (sequence: string) => void;
  /** Gives the terminal to somebody else until the promise settles. */
  readonly suspend: (during: () => Promise<void>) => Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The longest text that terminals take for their clipboard, in bytes of base64. */
const longestCopy = 74_994;

/** The sequence that puts text on the terminal's clipboard (OSC 52), also through tmux; undefined when it is too long. */
export function copySequence(text: string, env: Terminal["env"]): string | undefined {
  const encoded = Buffer.from(text, "utf8").toString("base64");
  if (encoded.length > longestCopy) return undefined;
  const sequence = `\u001b]52;c;${encoded}\u0007`;
  if (env["TMUX"]) return `\u001bPtmux;${sequence.replaceAll("\u001b", "\u001b\u001b")}\u001b\\`;
  if (env["TERM"]?.startsWith("screen")) return `\u001bP${sequence}\u001b\\`;
  return sequence;
}

/** The sequence that lets the terminal tell of the mouse, or no longer. */
export function mouseSequence(isOn: boolean): string {
  const mode = isOn ? "h" : "l";
  return `\u001b[?1000${mode}\u001b[?1006${mode}`;
}

/** What the mouse did; columns and rows count from 0. */
export type MouseReport =
  | { readonly kind: "wheel"; readonly by: -1 | 1 }
  | { readonly kind: "click"; readonly column: number; readonly row: number };

/** Reads what a terminal tells of the mouse, without the escape in front; undefined when it is something else. */
export function readMouse(input: string): MouseReport | "other" | undefined {
  const [, button, column, row, end] = /^\[<(\d+);(\d+);(\d+)([Mm])$/.exec(input) ?? [];
  if (button === undefined) return undefined;
  if (button === "64") return { kind: "wheel", by: -1 };
  if (button === "65") return { kind: "wheel", by: 1 };
  if (button === "0" && end === "M")
    return { kind: "click", column: Number(column) - 1, row: Number(row) - 1 };
  return "other";
}

/** The text as the user's editor leaves it; undefined when it is unchanged. Throws when there is no editor. */
export async function editText(
  terminal: Terminal,
  text: string,
  extension: string,
): Promise<string | undefined> {
  const editor = editorOf(terminal.env);
  if (editor === undefined) throw new Error("set EDITOR or VISUAL to edit a text");
  const folder = await mkdtemp(join(tmpdir(), "muster-edit-"));
  const path = join(folder, `text.${extension}`);
  try {
    await writeFile(path, text, { mode: 0o600 });
    let code = 0;
    await terminal.suspend(async () => {
      code = await runEditor(editor, path, terminal.env);
    });
    if (code !== 0) throw new Error(`the editor ended with ${code}: nothing is changed`);
    const edited = await readFile(path, "utf8");
    return edited === text ? undefined : edited;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Stops this process as Ctrl-Z does elsewhere; resolves when it goes on. */
export async function stopProcess(terminal: Terminal): Promise<void> {
  await terminal.suspend(async () => {
    const goesOn = new Promise<void>((resolve) => process.once("SIGCONT", () => resolve()));
    process.kill(process.pid, "SIGTSTP");
    await goesOn;
  });
}
