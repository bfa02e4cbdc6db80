import { z } from "zod";
import { orgTxOf } from "../store/database.ts";
import { readServed, readServing } from "../store/kinds.ts";
import { readOrg } from "../store/snapshot.ts";
import type { OrgTx } from "../store/statement.ts";
import { builtInKind } from "./built-in-kinds.ts";
import type { Caller, Coordinator } from "./context.ts";
import { kindScope } from "./kind-scopes.ts";
import { builtInKindNames } from "./rules/built-in-kinds.ts";
import { quantileMs } from "./rules/histograms.ts";
import { attemptsOf, type StatsFigures, successRate, sumStats } from "./rules/stats.ts";
import { rowsOf, windowOf } from "./stats.ts";

/** What is known of a kind beside its limits. */
export interface KindFacts {
  /** Null: it is not built in. */
  readonly builtIn: {
    readonly description: string;
    /** JSON Schema of the payload. */
    readonly payloadSchema: string;
    /** Null: when it is asked for. */
    readonly schedule: string | null;
    /** What submitting it asks for beside `submit`; null: nothing. */
    readonly scope: string | null;
  } | null;
  /** Connected workers that serve it, by name: the first ones. */
  readonly workers: readonly string[];
  readonly workerCount: number;
  /** The coordinator starts a worker of its own where none serves it. */
  readonly isOnDemand: boolean;
  /** Attempts that ended in the last day. */
  readonly lastDay: KindCounts;
}

/** What attempts of a kind came to. */
export interface KindCounts {
  readonly attempts: number;
  readonly succeeded: number;
  /** Failed, ran out of time, or were lost. */
  readonly failed: number;
  readonly dead: number;
  /** Null: none succeeded or failed. */
  readonly successRate: number | null;
  /** Null: none ran. */
  readonly runP50Ms: number | null;
  readonly runP95Ms: number | null;
}

/** What reading kinds works with. */
export type KindContext = Pick<Coordinator, "db" | "config">;

/** Tells who serves a kind and how it went, and of one that is built in what its payload is. */
export async function getKindFacts(
  c: KindContext,
  caller: Pick<Caller, "orgId" | "isTenant">,
  kind: string,
): Promise<KindFacts> {
  const { orgId } = caller;
  return readOrg(c.db.app, orgId, async (tx) => {
    const { names, count } = await readServing(tx, orgId, { kind, limit: 100 });
    const counted = await countLastDay(c, orgTxOf(tx, orgId), [kind]);
    return factsOf(c, caller, kind, { names, count, counts: counted.get(kind) });
  });
}

/** Every kind that is built in, or that workers registered, with facts where they are asked for, also those of jobs. */
export async function listKindFacts(
  c: KindContext,
  caller: Pick<Caller, "orgId" | "isTenant">,
  { withFacts }: { readonly withFacts: boolean },
): Promise<ReadonlyMap<string, KindFacts | null>> {
  const { orgId } = caller;
  return readOrg(c.db.app, orgId, async (tx) => {
    const served = new Map((await readServed(tx, orgId, 3)).map((one) => [one.kind, one]));
    const counted = withFacts
      ? await countLastDay(c, orgTxOf(tx, orgId), null)
      : new Map<string, KindCounts>();
    const names = new Set([...builtInKindNames, ...served.keys(), ...counted.keys()]);
    const facts = (kind: string) => {
      const { names: workers, count } = served.get(kind) ?? { names: [], count: 0 };
      return factsOf(c, caller, kind, { names: workers, count, counts: counted.get(kind) });
    };
    return new Map([...names].map((kind) => [kind, withFacts ? facts(kind) : null]));
  });
}

function factsOf(
  { config }: KindContext,
  caller: Pick<Caller, "isTenant">,
  kind: string,
  found: {
    readonly names: readonly string[];
    readonly count: number;
    readonly counts: KindCounts | undefined;
  },
): KindFacts {
  const known = builtInKind(kind);
  return {
    builtIn:
      known === undefined
        ? null
        : {
            description: known.description,
            payloadSchema: JSON.stringify(z.toJSONSchema(known.payload, { io: "input" })),
            schedule: known.schedule,
            scope: kindScope(caller, kind),
          },
    workers: found.names,
    workerCount: found.count,
    isOnDemand: known !== undefined && config.kinds,
    lastDay: found.counts ?? countsOf([]),
  };
}

async function countLastDay(
  c: KindContext,
  own: OrgTx,
  kinds: readonly string[] | null,
): Promise<Map<string, KindCounts>> {
  const window = await windowOf(c, own, { from: null, until: null }, dayMs);
  const stepMs = window.until.getTime() - window.from.getTime() + 1;
  const rows = await rowsOf(own, { by: "kind", values: kinds, project: null, ...window, stepMs });
  return new Map([...Map.groupBy(rows, ({ value }) => value)].map(([kind, of]) => [kind, countsOf(of)]));
}

const dayMs = 86_400_000;

function countsOf(rows: readonly StatsFigures[]): KindCounts {
  const figures = sumStats(rows);
  const { succeeded, failed, timedOut, lost, dead, runs } = figures;
  return {
    ...{ attempts: attemptsOf(figures), succeeded, failed: failed + timedOut + lost, dead },
    successRate: successRate(figures),
    runP50Ms: quantileMs(runs, 0.5),
    runP95Ms: quantileMs(runs, 0.95),
  };
}
