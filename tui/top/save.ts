import { open } from "node:fs/promises";
import { join } from "node:path";

/** Writes lines into a new file of the folder and answers with its path; a file that is there gets a neighbour. */
export async function saveLines(folder: string, name: string, lines: Iterable<string>): Promise<string> {
  for (let number = 0; number < 1_000; number++) {
    const path = join(folder, number === 0 ? name : name.replace(/(\.[^.]*)?$/, `-${number}$1`));
    try {
      await using file = await open(path, "wx", 0o600);
      for (const line of lines) await file.write(`${line}\n`);
      return path;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
  }
  throw new Error(`there are too many files like ${name} here`);
}
