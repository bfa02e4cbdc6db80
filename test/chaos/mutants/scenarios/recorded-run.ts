import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type postgres from "postgres";
import type { Dispatcher } from "../../../../server/dispatch/dispatcher.ts";
import type { Grant } from "../../../../server/dispatch/link.ts";
import {
  type CancelOutcome,
  cancelJob,
  retryJob,
  submitBatch,
  submitJob,
} from "../../../../server/domain/jobs.ts";
import {
  createResultBatcher,
  endLeases,
  type LeaseResult,
  type ResultAnswer,
} from "../../../../server/domain/leases.ts";
import { type TestCoordinator, testCaller } from "../../../support/database.ts";
import { attachWorker, hello, jobRequest, type TestWorker, testDispatcher } from "../../../support/fleet.ts";
import { checkHistory } from "../../checker/checker.ts";
import type { Invariant, Verdict } from "../../checker/verdict.ts";
import { invariantNames } from "../../checker/verdict.ts";
import { type AskedJob, type ClientLine, type EffectLine, openHistory } from "../../history.ts";
import { recordStore } from "./record-store.ts";

/** What a coordinator's verbs need, and the superuser's look at the tables. */
export interface Stage {
  readonly c: TestCoordinator;
  readonly admin: postgres.Sql;
}

const plain: AskedJob = { kind: "test.echo", exclusive: false, maxAttempts: 3, failures: 0, poison: false };

/** A job that its handler fails, and that is dead by it: an end that no stale success may bring. */
export const failing: Partial<AskedJob> = { maxAttempts: 1, failures: -1 };

/**
 * One org in which a scenario is played against the verbs of a coordinator
 * and a real database. Whoever takes part writes down what it sees, and at
 * the end the checker judges.
 */
export class RecordedRun {
  readonly orgId: string;
  readonly dispatcher: Dispatcher;
  readonly #stage: Stage;
  readonly #folder: string;
  readonly #clients: ReturnType<typeof openHistory<ClientLine>>;
  readonly #effects: ReturnType<typeof openHistory<EffectLine>>;
  readonly #results: ReturnType<typeof createResultBatcher>;
  readonly #boots = new Map<string, string>();
  readonly #taken = new Map<TestWorker, number>();

  private constructor(stage: Stage, orgId: string, folder: string) {
    this.#stage = stage;
    this.orgId = orgId;
    this.#folder = folder;
    this.#clients = openHistory(folder, "client-1");
    this.#effects = openHistory(folder, "effects-1");
    this.#results = createResultBatcher(stage.c);
    this.dispatcher = testDispatcher(stage.c);
  }

  /** Begins one in an org. */
  static async begin(stage: Stage, orgId: string): Promise<RecordedRun> {
    return new RecordedRun(stage, orgId, await mkdtemp(join(tmpdir(), "muster-scenario-")));
  }

  /** A client submits a job, and writes down the answer; rejects as the submission does. */
  async submit(
    asked: Partial<AskedJob> = {},
    of: { readonly key?: string; readonly name?: string } = {},
  ): Promise<string> {
    const name = of.name ?? randomUUID();
    this.#ask(name, [asked]);
    const { jobId } = await submitJob(this.#stage.c, testCaller(this.orgId), {
      job: requestOf(asked),
      idempotencyKey: of.key ?? null,
      parent: null,
    });
    this.#answer(name, [jobId], null);
    return jobId;
  }

  /** The same of several at once. */
  async submitBatch(asked: readonly Partial<AskedJob>[], name: string): Promise<readonly string[]> {
    this.#ask(name, asked);
    const { jobIds, batchId } = await submitBatch(this.#stage.c, testCaller(this.orgId), {
      jobs: asked.map(requestOf),
      title: "",
      idempotencyKey: null,
      parent: null,
    });
    this.#answer(name, jobIds, batchId);
    return jobIds;
  }

  /** Attaches a worker that is offered what the dispatcher finds for it. */
  attach(name: string, slots = 4): Promise<TestWorker> {
    // Points enough: slots are what is scarce.
    const declared = { ...hello().declared, slots, points: 4 * slots };
    return attachWorker(this.#stage.c, this.orgId, {
      name,
      hello: hello({ declared }),
      dispatcher: this.dispatcher,
    });
  }

  /** The next lease of a worker, whose handler starts. */
  async startNext(worker: TestWorker): Promise<Grant> {
    const grant = await this.next(worker);
    this.start(grant);
    return grant;
  }

  /** The next lease that a worker is offered. */
  async next(worker: TestWorker): Promise<Grant> {
    await this.dispatcher.refresh(this.orgId);
    const count = (this.#taken.get(worker) ?? 0) + 1;
    this.#taken.set(worker, count);
    const grant = (await worker.offers(count))[count - 1];
    if (!grant) throw new Error("offered");
    return grant;
  }

  /** Its handler starts. */
  start({ fence }: Grant): void {
    const bootId = this.#boots.get(fence.workerId) ?? randomUUID();
    this.#boots.set(fence.workerId, bootId);
    this.#effects.write({ type: "start", at: Date.now(), ...fence, bootId, pid: process.pid });
  }

  /** Its handler comes to an end, which nobody has heard of. */
  stop({ fence }: Grant, outcome: "succeeded" | "failed"): void {
    this.#effects.write({ type: "end", at: Date.now(), leaseId: fence.leaseId, outcome });
  }

  /** The result of a handler that has ended reaches the coordinator. */
  async deliver(
    { fence }: Pick<Grant, "fence">,
    outcome: "succeeded" | "failed",
    overrides: Partial<LeaseResult> = {},
  ): Promise<ResultAnswer> {
    const answer = await this.#results.add(this.orgId, {
      fence,
      resultId: randomUUID(),
      event:
        outcome === "succeeded"
          ? { type: "succeeded" }
          : { type: "failed", isRetryable: true, isTimedOut: false, retryAfterMs: null },
      result: outcome === "succeeded" ? "null" : null,
      error: outcome === "failed" ? { code: "BROKEN", message: "as asked", detail: "" } : null,
      prUrl: null,
      lastSequence: 0,
      reason: null,
      hasProgress: false,
      ...overrides,
    });
    if (answer.status === "committed") {
      this.#effects.write({ type: "acknowledged", at: Date.now(), leaseId: fence.leaseId });
    }
    return answer;
  }

  /** Handler and result in one. */
  finish(grant: Grant, outcome: "succeeded" | "failed" = "succeeded"): Promise<ResultAnswer> {
    this.stop(grant, outcome);
    return this.deliver(grant, outcome);
  }

  /** A sweep takes a lease back; answers whether it was current. */
  async lose({ fence }: Pick<Grant, "fence">): Promise<boolean> {
    const end = { fence, event: { type: "lost" as const, isFleetEvent: false }, reason: "silent" };
    const ended = await endLeases(this.#stage.c, this.orgId, [end]);
    return ended.has(fence.leaseId);
  }

  /** A client cancels a job. */
  async cancel(jobId: string): Promise<CancelOutcome> {
    this.#clients.write({ type: "cancel", at: Date.now(), jobId });
    const request = { jobId, reason: "", isForced: false };
    const outcome = await cancelJob(this.#stage.c, testCaller(this.orgId), request);
    this.#clients.write({ type: "cancelled", at: Date.now(), jobId, outcome });
    return outcome;
  }

  /** An operator replays a run. */
  async replay(jobId: string): Promise<void> {
    await retryJob(this.#stage.c, testCaller(this.orgId), { jobId, reason: "again" });
  }

  /** Reads the tables, of another server if the first one is gone, and judges. */
  async verdict(admin: postgres.Sql = this.#stage.admin): Promise<Verdict> {
    await this.dispatcher.stop();
    this.#clients.close();
    this.#effects.close();
    await recordStore(admin, this.orgId, this.#folder);
    try {
      return await checkHistory(this.#folder);
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
    }
  }

  #ask(key: string, asked: readonly Partial<AskedJob>[]): void {
    const jobs = asked.map((job) => ({ ...plain, ...job }));
    this.#clients.write({ type: "submit", at: Date.now(), key, org: this.orgId, jobs });
  }

  #answer(key: string, jobIds: readonly string[], batchId: string | null): void {
    const at = Date.now();
    this.#clients.write({ type: "submitted", at, key, org: this.orgId, jobIds, batchId, replayed: false });
  }
}

/** What is wrong, by name: empty when nothing is. */
export function wrongIn({ counts }: Verdict): Partial<Record<Invariant, number>> {
  const wrong = invariantNames().filter((name) => counts[name] > 0);
  return Object.fromEntries(wrong.map((name) => [name, counts[name]]));
}

function requestOf({ exclusive, maxAttempts = plain.maxAttempts }: Partial<AskedJob>) {
  return jobRequest({ exclusive: exclusive ?? false, maxAttempts });
}
