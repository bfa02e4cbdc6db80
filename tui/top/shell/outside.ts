import type { Shell } from "./screen.ts";
import { copySequence, editText, type Terminal } from "./terminal.ts";

/** What leaves the console by other ways than the server. */
export type Outside = Pick<Shell, "copy" | "edit" | "save">;

/** What it takes: the terminal, the files of the user, and a way to say what came of it. */
export interface OutsideOptions {
  readonly terminal: Terminal;
  /** Answers with the path of the file. */
  readonly save: (name: string, lines: Iterable<string>) => Promise<string>;
  readonly say: Shell["say"];
}

/** The clipboard, the editor, and files: what fails is said, and nothing is lost by it. */
export function makeOutside({ terminal, save, say }: OutsideOptions): Outside {
  const fail = (error: unknown): undefined => {
    say({ text: error instanceof Error ? error.message : String(error), kind: "error" });
  };
  return {
    copy: (text, what) => {
      const sequence = copySequence(text, terminal.env);
      if (sequence === undefined) return say({ text: `${what} is too long to copy`, kind: "warning" });
      terminal.write(sequence);
      say({ text: `copied ${what}`, kind: "info" });
    },
    edit: (text, extension) => editText(terminal, text, extension).catch(fail),
    save: (name, lines) =>
      save(name, lines).then((path) => say({ text: `saved to ${path}`, kind: "info" }), fail),
  };
}
