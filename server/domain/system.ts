import type { Host, ProcessFacts } from "../host.ts";
import { inOrg } from "../store/database.ts";
import { readCoordinators } from "../store/status.ts";
import { countKnownMigrations, readDatabaseFacts, readOwnerFacts, readSizeBytes } from "../store/system.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import type { CoordinatorView } from "./status.ts";

/** What tells how a coordinator stands. */
export interface SystemContext
  extends Pick<Coordinator, "db" | "config" | "coordinatorId" | "log" | "newId"> {
  /** The URL of who owns the tables; an embedded database's when none is configured. */
  readonly ownerUrl: string;
  /** The URL of a role that may listen. */
  readonly appUrl: string;
  readonly host: Host;
}

/** How the database stands. */
export interface DatabaseView {
  readonly version: string;
  readonly schema: string;
  readonly isEmbedded: boolean;
  readonly connections: number;
  readonly maxConnections: number;
  readonly sizeBytes: number;
  /** Null: none is open, or we may not see it. */
  readonly oldestTransactionMs: number | null;
  readonly roundTripMs: number;
  readonly clockAheadMs: number;
}

/** How the control plane stands. */
export interface SystemView {
  readonly coordinators: readonly CoordinatorView[];
  readonly database: DatabaseView;
  readonly coordinatorId: string;
  readonly process: ProcessFacts;
  /** By the database's clock. */
  readonly time: Date;
}

/** Reads how the control plane stands, for any number of callers: what one read is kept for others for 2 s. */
export interface SystemReader {
  readSystem(caller: Pick<Caller, "orgId">): Promise<SystemView>;
}

/** Makes the reader. `nowMs` is a clock that never goes back. */
export function createSystemReader(
  c: SystemContext,
  nowMs: () => number = () => performance.now(),
): SystemReader {
  const cache = createCache<Omit<SystemView, "process">>({ maxAgeMs: 2_000, maxEntries: 1, nowMs });
  return {
    // Nothing of it is an org's: one transaction reads it for all.
    async readSystem({ orgId }) {
      const view = await cache.get("system", () => readSystem(c, orgId, nowMs));
      return { ...view, process: c.host.read() };
    },
  };
}

async function readSystem(
  c: SystemContext,
  orgId: string,
  nowMs: () => number,
): Promise<Omit<SystemView, "process">> {
  const before = { steadyMs: nowMs(), wallMs: Date.now() };
  const facts = await readDatabaseFacts(c.db.app);
  const roundTripMs = nowMs() - before.steadyMs;
  const [sizeBytes, owned, coordinators] = await Promise.all([
    readSizeBytes(c.db.app),
    readOwnerFacts(c.ownerUrl),
    inOrg(c.db.app, orgId, readCoordinators),
  ]);
  const ages = owned.transactions.flatMap(({ ageMs }) => ageMs ?? []);
  return {
    coordinators,
    coordinatorId: c.coordinatorId,
    time: new Date(facts.nowMs),
    database: {
      version: facts.version,
      schema: schemaText(owned.appliedMigrations),
      isEmbedded: c.config.databaseUrl === undefined,
      connections: facts.connections,
      maxConnections: facts.maxConnections,
      sizeBytes,
      oldestTransactionMs: ages.length === 0 ? null : Math.max(...ages),
      roundTripMs,
      // As if it was read half way.
      clockAheadMs: facts.nowMs - (before.wallMs + roundTripMs / 2),
    },
  };
}

/** The version of a schema: the number of its migrations, and what this version knows when that differs. */
export function schemaText(applied: number): string {
  const known = countKnownMigrations();
  return applied === known ? String(applied) : `${applied} of ${known}`;
}
