import type { JobContext } from "../../../worker/context.ts";
import { Stop } from "../../../worker/stop.ts";
import type { TestServer } from "../../support/coordinator.ts";

/** Timers of the contract, scaled; a test that needs others says which. */
export const scaledTimers = {
  heartbeatMs: 200,
  staleMs: 800,
  reclaimAfterMs: 10_000,
  offerTtlMs: 1_000,
  outageGraceMs: 0,
  killGraceMs: 200,
};

/** One execution of a job, as its handler saw it. */
export interface Effect {
  readonly worker: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly startedMs: number;
  /** Infinity while it runs. */
  endedMs: number;
  /** Why it was asked to stop. */
  stop: string | undefined;
}

/** Handlers that write down what they do. */
export interface Journal {
  readonly effects: Effect[];
  /** Ends at once. */
  quick(worker: string): (ctx: JobContext) => string;
  /** Ends when it is released, or stops when it is asked to. */
  held(worker: string): (ctx: JobContext) => Promise<string>;
  /** Lets all that is held, and will be, end. */
  release(): void;
  /** Executions of a worker. */
  of(worker: string): Effect[];
}

/** An empty journal. */
export function openJournal(): Journal {
  const effects: Effect[] = [];
  const released = Promise.withResolvers<void>();
  const start = (worker: string, { job }: JobContext): Effect => {
    const effect: Effect = {
      worker,
      jobId: job.id,
      attempt: job.attempt,
      startedMs: performance.now(),
      endedMs: Number.POSITIVE_INFINITY,
      stop: undefined,
    };
    effects.push(effect);
    return effect;
  };
  return {
    effects,
    quick: (worker) => (ctx) => {
      const effect = start(worker, ctx);
      effect.endedMs = performance.now();
      return worker;
    },
    held: (worker) => async (ctx) => {
      const effect = start(worker, ctx);
      const stopped = new Promise<never>((_, reject) => {
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason), { once: true });
      });
      try {
        await Promise.race([released.promise, stopped]);
        return worker;
      } catch (error) {
        effect.stop = error instanceof Stop ? error.kind : String(error);
        throw error;
      } finally {
        effect.endedMs = performance.now();
      }
    },
    release: () => released.resolve(),
    of: (worker) => effects.filter((effect) => effect.worker === worker),
  };
}

/** A row of the history. */
export interface AttemptRow {
  readonly attempt: number;
  /** As in `server/domain/rules/states.ts`. */
  readonly outcome: number;
  readonly final: boolean;
}

/** The history of all jobs of a test, in the order of jobs and attempts. */
export async function attemptRows({ database }: TestServer): Promise<AttemptRow[]> {
  const rows = await database.admin<AttemptRow[]>`
    select attempt, outcome, final from muster.attempts order by job_id, attempt`;
  return rows.map(({ attempt, outcome, final }) => ({ attempt, outcome, final }));
}

/** Attempts whose results came too late and were kept. */
export async function lateAttempts({ database }: TestServer): Promise<number[]> {
  const rows = await database.admin<{ attempt: number }[]>`select attempt from muster.late_results`;
  return rows.map(({ attempt }) => attempt);
}

/** The address of the test's database through a proxy. */
export function through(proxy: { readonly address: string }, { database }: TestServer): string {
  const url = new URL(database.url);
  url.host = proxy.address;
  return url.href;
}

/** `host:port` of the test's database. */
export function databaseTarget({ database }: TestServer): string {
  return new URL(database.url).host;
}
