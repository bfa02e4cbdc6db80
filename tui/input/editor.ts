import { spawn } from "node:child_process";

type Environment = Readonly<Record<string, string | undefined>>;

/** The user's editor, as `VISUAL` or `EDITOR` names it; undefined when neither does. */
export function editorOf(env: Environment): string | undefined {
  return env["VISUAL"] || env["EDITOR"] || undefined;
}

/**
 * Opens a file in the editor on this terminal; answers with its exit code, 1 when a signal ended it. Like git and
 * crontab: the variable may hold arguments, so a shell reads it; the path is an argument of its own.
 */
export function runEditor(editor: string, path: string, env: Environment): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", `${editor} "$1"`, "sh", path], {
      stdio: "inherit",
      env: { ...env },
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(signal === null ? (code ?? 1) : 1));
  });
}
