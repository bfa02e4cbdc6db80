import { createHash } from "node:crypto";
import type { ArtifactStore } from "../outbound/artifact-store.ts";
import { errorCode } from "../store/connection-errors.ts";
import { inOrg } from "../store/database.ts";
import { nilUuid } from "../store/names.ts";
import { readOrg } from "../store/snapshot.ts";
import { readCoordinators } from "../store/status.ts";
import {
  countKnownMigrations,
  readDatabaseFacts,
  readFeedLagMs,
  readOwnerFacts,
  readPartitionNames,
  roundTripNotify,
} from "../store/system.ts";
import { createCache } from "./cache.ts";
import type { Caller } from "./context.ts";
import {
  type Finding,
  judgeArtifactSharing,
  judgeCertificate,
  judgeClock,
  judgeConnections,
  judgeCoordinators,
  judgeDurability,
  judgeFeed,
  judgeListeners,
  judgeLoop,
  judgeMemory,
  judgeMigrations,
  judgeNode,
  judgeNotify,
  judgePartitions,
  judgeTransactions,
  judgeVersion,
  ok,
  skip,
} from "./rules/checks.ts";
import type { SystemContext } from "./system.ts";

/** One look at one thing. */
export interface CheckView extends Finding {
  /** Stable name, e.g. `database.reachable`. */
  readonly id: string;
  readonly tookMs: number;
}

/** What the checks look at. */
export interface CheckContext extends SystemContext {
  readonly artifacts: ArtifactStore;
}

/** Checks the server's side for any number of callers: checks that were begun within the last second are shared. */
export interface Checker {
  checkServer(caller: Pick<Caller, "orgId">): Promise<readonly CheckView[]>;
}

/** Makes it. `nowMs` is a clock that never goes back. */
export function createChecker(c: CheckContext, nowMs: () => number = () => performance.now()): Checker {
  const cache = createCache<readonly CheckView[]>({ maxAgeMs: 1_000, maxEntries: 100, nowMs });
  return { checkServer: ({ orgId }) => cache.get(orgId, () => runChecks(c, orgId, nowMs)) };
}

/** A check: its name, whether it asks the database, and how it looks. A look that fails is a failed check. */
interface Look {
  readonly id: string;
  readonly isOfDatabase: boolean;
  readonly look: () => Finding | Promise<Finding>;
}

// One after the other, so that the time of one is not that of another; without the database, nothing that needs it.
async function runChecks(c: CheckContext, orgId: string, nowMs: () => number): Promise<CheckView[]> {
  const checks: CheckView[] = [];
  for (const { id, isOfDatabase, look } of looksOf(c, orgId, nowMs)) {
    const isAway = isOfDatabase && checks.some((one) => one.id === reachable && one.level === "fail");
    const startedMs = nowMs();
    const finding = isAway ? skip("the database is out of reach") : await settled(c, id, look);
    checks.push({ id, ...finding, tookMs: nowMs() - startedMs });
  }
  return checks;
}

const reachable = "database.reachable";

function looksOf(c: CheckContext, orgId: string, nowMs: () => number): Look[] {
  const { db, config } = c;
  const facts = once(() => readDatabaseFacts(db.app));
  const owned = once(() => readOwnerFacts(c.ownerUrl));
  const coordinators = once(() => inOrg(db.app, orgId, readCoordinators));
  const ofDatabase = (id: string, look: Look["look"]): Look => ({ id, isOfDatabase: true, look });
  const ofProcess = (id: string, look: Look["look"]): Look => ({ id, isOfDatabase: false, look });
  return [
    ofDatabase(reachable, async () => {
      const startedMs = nowMs();
      await readDatabaseFacts(db.app);
      return ok(`answered in ${Math.round(nowMs() - startedMs)} ms`);
    }),
    ofDatabase("database.version", async () => {
      const { version, versionNumber } = await facts();
      return judgeVersion(version, versionNumber);
    }),
    ofDatabase("database.durability", async () => judgeDurability((await facts()).unsafeSettings)),
    ofDatabase("database.clock", async () => {
      const startedMs = Date.now();
      const read = await readDatabaseFacts(db.app);
      return judgeClock(read.nowMs - (startedMs + Date.now()) / 2);
    }),
    ofDatabase("database.connections", async () => {
      const { connections, maxConnections } = await facts();
      return judgeConnections(connections, maxConnections);
    }),
    ofDatabase("database.oldest-transaction", async () => judgeTransactions((await owned()).transactions)),
    ofDatabase("schema.migrations", async () =>
      judgeMigrations((await owned()).appliedMigrations, countKnownMigrations()),
    ),
    ofDatabase("schema.partitions", async () =>
      judgePartitions(await readPartitionNames(db.app), (await facts()).nowMs),
    ),
    ofDatabase("notify.round-trip", async () => judgeNotify(await roundTripNotify(c.appUrl, c.newId()))),
    ofDatabase("feed.age", async () =>
      judgeFeed(await readOrg(db.app, orgId, (tx) => readFeedLagMs(tx, orgId))),
    ),
    ofDatabase("coordinators", async () => judgeCoordinators(await coordinators(), (await facts()).nowMs)),
    ofProcess("artifacts.store", () => keepAndRemove(c, orgId)),
    ofDatabase("artifacts.shared", async () =>
      judgeArtifactSharing(await coordinators(), (await facts()).nowMs, config.artifactsDir),
    ),
    ofProcess("memory", () => judgeMemory(c.host.read())),
    ofProcess("loop.delay", () => judgeLoop(c.host.read().loopDelayMs)),
    ofProcess("node.version", () => judgeNode(c.host.read().nodeVersion)),
    ofProcess("tls.expiry", () => judgeCertificate(c.host.certificateEndsAt(), Date.now())),
    ofProcess("listener.loopback-without-tls", () =>
      judgeListeners([config.apiHost, config.workerHost], config.tlsCert !== undefined),
    ),
  ];
}

// Puts a few bytes where artifacts are, reads them and takes them away again. All checks use one place.
async function keepAndRemove({ artifacts, newId }: CheckContext, orgId: string): Promise<Finding> {
  const text = `muster doctor ${newId()}`;
  const bytes = Buffer.from(text);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const key = { orgId, jobId: nilUuid, attempt: 0, artifactId: newId(), sha256 };
  const signal = AbortSignal.timeout(10_000);
  await artifacts.put(key, oneChunk(bytes), { sizeBytes: bytes.length }, signal);
  try {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await artifacts.get(key, signal)) ?? []) chunks.push(chunk);
    if (Buffer.concat(chunks).toString() === text) return ok("put, got and deleted");
    return {
      level: "fail",
      detail: "what was put is not what was got",
      fix: "Check the storage of --artifacts-dir.",
    };
  } finally {
    await artifacts.delete(key);
  }
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

// The cause is logged: what drivers say may name what is not the caller's.
async function settled({ log }: CheckContext, id: string, look: Look["look"]): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    log.warn({ err: error, check: id }, "a check failed");
    const code = errorCode(error);
    return {
      level: "fail",
      detail: `failed${code === "" ? "" : ` (${code})`}`,
      fix: "The log of the coordinator that answered has the cause.",
    };
  }
}

function once<Value>(read: () => Promise<Value>): () => Promise<Value> {
  let value: Promise<Value> | undefined;
  return () => {
    value ??= read();
    return value;
  };
}
