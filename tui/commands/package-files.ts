import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The nearest file or folder of this path above this module: the same code runs from the sources, from dist/
 * and from an installed package. Undefined when there is none within four levels.
 */
export function findUpward(path: string): string | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < 4; level++) {
    folder = dirname(folder);
    const candidate = join(folder, path);
    if (existsSync(candidate)) return candidate;
  }
  return undefined;
}
