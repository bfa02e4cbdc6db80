import { randomBytes } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isProcessRunning, readHostBootId, readProcess } from "./process-table.ts";

/** The answer to a wish for a directory. */
export type DirectoryLock =
  | { readonly kind: "held"; readonly release: () => Promise<void> }
  /** A process that runs on this machine holds it. */
  | { readonly kind: "in use"; readonly pid: number };

const tries = 3;
const retryMs = 40;
const unknown = "unknown";
const lockName = /^lock-([0-9a-f-]+|unknown)-(\d+)-(\d+|unknown)-[0-9a-f]+$/;

/**
 * Takes a directory for this process, until `release` or the end of the process.
 *
 * Each contender makes a file whose name says who it is, and then looks for others: of two, at least one sees
 * the other and steps back, so two never hold. A file of a process that no longer runs is removed; as its
 * name is nobody else's, that takes nothing from a living one. Two that step back from each other try again.
 *
 * Holds between processes that see the same `/proc`; not between machines or containers that share a volume.
 */
export async function lockDirectory(directory: string, signal: AbortSignal): Promise<DirectoryLock> {
  const hostBootId = readHostBootId() ?? unknown;
  const startTimeTicks = readProcess(process.pid)?.startTimeTicks ?? unknown;
  const token = randomBytes(6).toString("hex");
  const name = `lock-${hostBootId}-${process.pid}-${startTimeTicks}-${token}`;
  const path = join(directory, name);
  const release = () => rm(path, { force: true });
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    await writeFile(path, "", { mode: 0o600 });
    let holder: number | null = null;
    try {
      holder = await otherHolder(directory, name, hostBootId);
    } catch (error) {
      await release();
      throw error;
    }
    if (holder === null) return { kind: "held", release };
    await release();
    if (attempt === tries) return { kind: "in use", pid: holder };
    await delay(retryMs * Math.random(), undefined, { signal });
  }
}

async function otherHolder(directory: string, ownName: string, hostBootId: string): Promise<number | null> {
  for (const name of await readdir(directory)) {
    const [, itsHostBootId, pidText, startTimeTicks] = lockName.exec(name) ?? [];
    if (name === ownName || pidText === undefined || startTimeTicks === undefined) continue;
    const pid = Number(pidText);
    const identity = { pid, startTimeTicks: startTimeTicks === unknown ? null : startTimeTicks };
    if (itsHostBootId === hostBootId && isProcessRunning(identity)) return pid;
    await rm(join(directory, name), { force: true });
  }
  return null;
}
