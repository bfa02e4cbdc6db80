import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isLoopback, localKeyPath } from "../context.ts";
import type { Surroundings } from "../surroundings.ts";
import type { CoordinatorConfig, RunningCoordinator } from "./coordinator.ts";

/** The admin key of a coordinator of this machine, and what became of the file of its address. */
export interface LocalKey {
  readonly key: string;
  /** A file that holds it. */
  readonly path: string;
  /** Whether the commands of this user find it by the address alone. */
  readonly isFound: boolean;
  /** Whether this start wrote the file. */
  readonly isWritten: boolean;
  /** Where the key is that the file held before; undefined when there was none. */
  readonly aside: string | undefined;
}

/**
 * Leaves the admin key of a coordinator of this machine where the commands of this user look for it: the file of
 * its address, mode 0600. The file may hold the only copy of another key, so it is replaced only by a key that
 * this start made, and what it held is kept beside it. Answers with undefined when the coordinator has not kept
 * its key, or listens for other machines.
 */
export function keepLocalKey(
  coordinator: Pick<RunningCoordinator, "apiAddress" | "bootstrapKey" | "adminKeyFile">,
  config: Pick<CoordinatorConfig, "dataDir" | "databaseUrl">,
  surroundings: Pick<Surroundings, "env" | "home">,
): LocalKey | undefined {
  // With a configured admin key none is named; the one of earlier starts is still beside the embedded database.
  const own =
    coordinator.adminKeyFile ?? (config.databaseUrl === undefined ? join(config.dataDir, "admin.key") : null);
  const key = coordinator.bootstrapKey ?? (own === null ? undefined : readKept(own));
  if (key === undefined || !isLoopback(coordinator.apiAddress)) return undefined;
  const path = localKeyPath(coordinator.apiAddress, surroundings);
  const held = existsSync(path) ? (readKept(path) ?? "") : undefined;
  if (held === key) {
    chmodSync(path, 0o600);
    return { key, path, isFound: true, isWritten: false, aside: undefined };
  }
  if (held !== undefined && coordinator.bootstrapKey === null) {
    return { key, path: own ?? path, isFound: false, isWritten: false, aside: undefined };
  }
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const aside = held === undefined ? undefined : setAside(path);
  writeFileSync(path, `${key}\n`, { mode: 0o600, flag: "wx" });
  return { key, path, isFound: true, isWritten: true, aside };
}

/**
 * Takes the key away again, if that start wrote its file and it still holds this key; the key that was there
 * before comes back.
 */
export function dropLocalKey({ key, path, isWritten, aside }: LocalKey): void {
  if (!isWritten || readKept(path) !== key) return;
  rmSync(path, { force: true });
  if (aside !== undefined && existsSync(aside)) renameSync(aside, path);
}

/** Tells where the key is that an address had before. */
export function asideText(aside: string): string {
  return `Another key was kept for this address; it is now in ${aside}.`;
}

// Two coordinators of one address cannot run at once, so nobody takes the name in between.
function setAside(path: string): string {
  let number = 1;
  while (existsSync(`${path}.old-${number}`)) number += 1;
  const aside = `${path}.old-${number}`;
  renameSync(path, aside);
  return aside;
}

function readKept(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
