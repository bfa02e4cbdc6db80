import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { usageError } from "../errors.ts";
import { systemReason } from "../input/files.ts";
import type { Surroundings } from "../surroundings.ts";

/** One thing that an apply made, or found as it was wanted. */
export interface Applied {
  readonly kind: string;
  readonly name: string;
}

/**
 * Where it is kept what an apply of these files to this coordinator and org left: for `--prune`, which removes nothing
 * else. Below the state directory of the user, or at `stateFile`.
 */
export function appliedFile(
  paths: readonly string[],
  target: string,
  stateFile: string | undefined,
  { cwd, env, home }: Surroundings,
): string {
  if (stateFile !== undefined) return resolve(cwd, stateFile);
  const set = paths.map((path) => (path === "-" ? `- in ${cwd}` : resolve(cwd, path))).sort();
  const hash = createHash("sha256")
    .update(JSON.stringify([target, set]))
    .digest("hex")
    .slice(0, 32);
  return join(env["XDG_STATE_HOME"] ?? join(home, ".local", "state"), "muster", "applied", `${hash}.json`);
}

/** What an earlier apply left; nothing where there was none. Throws a usage error when the file is not one of ours. */
export function readApplied(file: string): Applied[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return [];
  }
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list)) return list.filter(isApplied).map(({ kind, name }) => ({ kind, name }));
  } catch {
    // Told below.
  }
  throw usageError(`${file} is not what an apply left`, "Move it away: then nothing is pruned this time.");
}

/** Keeps what an apply left. */
export function writeApplied(file: string, applied: readonly Applied[]): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(`${file}.new`, `${JSON.stringify(applied)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (cause) {
    throw usageError(`everything was applied; ${file} cannot be written: ${systemReason(cause)}`);
  }
}

function isApplied(value: unknown): value is Applied {
  if (typeof value !== "object" || value === null) return false;
  return (
    "kind" in value && typeof value.kind === "string" && "name" in value && typeof value.name === "string"
  );
}
