import { createHash } from "node:crypto";
import { readOrg } from "../store/snapshot.ts";
import { readLinkedProjects, readWorkers } from "../store/workers.ts";
import { createCache } from "./cache.ts";
import type { Coordinator } from "./context.ts";
import type { WorkerView } from "./workers.ts";

/** A worker with what a filter may ask of it besides. */
export interface ListedWorker {
  readonly worker: WorkerView;
  readonly projects: readonly string[];
  /** Of all that is shown. */
  readonly digest: string;
  /** The reading since which it is as it is. */
  readonly changedAt: number;
}

/** All workers of an org at one moment. */
export interface WorkerReading {
  /** Grows from reading to reading of this coordinator. */
  readonly number: number;
  /** The first reading since which each one was compared with the one before. */
  readonly since: number;
  /** By name. */
  readonly workers: readonly ListedWorker[];
}

/** Reads the workers of orgs for any number of watchers. */
export interface WorkerReader {
  read(orgId: string): Promise<WorkerReading>;
}

/** How long the last reading of an org is kept to compare with. */
const keptMs = 60_000;

/** Workers that one statement reads. */
const chunkRows = 1_000;

/**
 * Makes the reader. The workers of an org are read at most once a second, however many watch them, and less often where
 * that takes longer than a tenth of it.
 */
export function createWorkerReader(
  c: Pick<Coordinator, "db" | "config">,
  nowMs: () => number = () => performance.now(),
): WorkerReader {
  const fresh = createCache<WorkerReading>({
    maxAgeMs: (tookMs) => Math.min(10_000, Math.max(950, 10 * tookMs)),
    maxEntries: 1_000,
    nowMs,
  });
  const last = new Map<string, { readonly reading: WorkerReading; readonly atMs: number }>();
  let number = 0;
  return {
    read: (orgId) =>
      fresh.get(orgId, async () => {
        const rows = await readAll(c, orgId);
        for (const [key, { atMs }] of last) if (nowMs() - atMs > keptMs) last.delete(key);
        const before = last.get(orgId)?.reading;
        const known = new Map(before?.workers.map((one) => [one.worker.workerId, one]));
        number++;
        const workers = rows.map(({ worker, projects }): ListedWorker => {
          const digest = createHash("sha1")
            .update(JSON.stringify([worker, projects]))
            .digest("base64");
          const same = known.get(worker.workerId);
          return { worker, projects, digest, changedAt: same?.digest === digest ? same.changedAt : number };
        });
        const reading = { number, since: before?.since ?? number, workers };
        last.set(orgId, { reading, atMs: nowMs() });
        return reading;
      }),
  };
}

function readAll({ db, config }: Pick<Coordinator, "db" | "config">, orgId: string) {
  return readOrg(db.app, orgId, async (tx) => {
    const projects = await readLinkedProjects(tx, orgId);
    const workers: WorkerView[] = [];
    let afterName: string | null = null;
    for (;;) {
      const page = { afterName, isAttached: false, limit: chunkRows };
      const rows: WorkerView[] = await readWorkers(tx, orgId, page, config.staleMs);
      workers.push(...rows);
      if (rows.length < chunkRows) break;
      afterName = rows.at(-1)?.name ?? null;
    }
    return workers.map((worker) => ({ worker, projects: projects.get(worker.workerId) ?? [] }));
  });
}
