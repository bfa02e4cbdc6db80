import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Keeper } from "../store/snoozes.ts";

/** Keeps a text in a file that only this user can read. */
export function fileKeeper(path: string): Keeper {
  return {
    read: () => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return "";
      }
    },
    write: (text) => {
      try {
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        writeFileSync(`${path}.new`, text, { mode: 0o600 });
        renameSync(`${path}.new`, path);
      } catch {
        // A full disk must not take the console away.
      }
    },
  };
}
