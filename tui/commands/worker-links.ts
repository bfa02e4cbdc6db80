import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { resolve } from "node:path";
import type { LinksSource } from "@muster/worker/daemon";
import type { Publication } from "@muster/worker/published";
import { CliError, usageError } from "../errors.ts";
import { systemReason } from "../input/files.ts";
import { readLinksFile } from "../input/links-file.ts";
import type { Surroundings } from "../surroundings.ts";

/** How often the file is looked at: an editor may put another one in its place, which only its name tells. */
const lookMs = 1_000;

/**
 * What a worker publishes, from a file that is read again when it changes or the process is told to reload. One that
 * cannot be read then is logged, and what was published before stands. Throws a usage error when it cannot be read now.
 */
export function linksOfFile(path: string, surroundings: Pick<Surroundings, "cwd" | "onReload">): LinksSource {
  const file = resolve(surroundings.cwd, path);
  return {
    first: readLinks(file, path),
    follow({ changed, failed }) {
      const readAgain = (): void => {
        try {
          changed(readLinks(file, path));
        } catch (error) {
          failed(error instanceof CliError ? describe(error) : String(error));
        }
      };
      watchFile(file, { interval: lookMs, persistent: false }, readAgain);
      const forget = surroundings.onReload?.(readAgain);
      return () => {
        unwatchFile(file, readAgain);
        forget?.();
      };
    },
  };
}

function readLinks(file: string, path: string): Publication {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw usageError(
      `--links: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
  return readLinksFile(text, path);
}

function describe({ message, violations }: CliError): string {
  const [first, ...others] = violations;
  if (first === undefined) return message;
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return `${message}: ${first.field} ${first.message}${more}`;
}
