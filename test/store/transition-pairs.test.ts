import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Caller } from "../../server/domain/context.ts";
import { cancelJob, cancelOverdueJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import {
  createAcceptBatcher,
  createResultBatcher,
  endLeases,
  type Fence,
} from "../../server/domain/leases.ts";
import { parkJob, unparkJob } from "../../server/domain/parking.ts";
import { revokeLease } from "../../server/domain/revokes.ts";
import type { LeftEvent } from "../../server/domain/rules/lifecycle.ts";
import { isTerminal, JobState, Outcome, stateName } from "../../server/domain/rules/states.ts";
import {
  type EventType,
  movesOf,
  type Place,
  transitionTable,
} from "../../server/domain/rules/transition-table.ts";
import type { LeaseEvent } from "../../server/domain/rules/transitions.ts";
import { promoteDueJobs } from "../../server/maintain/due.ts";
import { runInOrg } from "../../server/store/statement.ts";
import { claimOf } from "../support/claims.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { jobRequest } from "../support/fleet.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

/*
 * What the statements really write, against the table: each is run on rows in
 * every state, with what decides between its targets, and every move that a
 * row made is noted. Rows of all states carry a lease, so that the state alone
 * keeps a statement off.
 */

let db: TestDatabase;
let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

/** What decides between the targets of an event. */
interface Variant {
  readonly waitingOn?: number;
  readonly isAhead?: boolean;
  readonly isCancelRequested?: boolean;
  readonly failures?: number;
  readonly losses?: number;
  readonly releases?: number;
  readonly isAtMostOnce?: boolean;
}

const variants: readonly Variant[] = [
  {},
  { waitingOn: 1 },
  { isAhead: true },
  { isCancelRequested: true },
  { failures: 2 },
  { losses: 4 },
  { releases: 5 },
  { isAtMostOnce: true },
  { isAtMostOnce: true, losses: 4 },
];

interface Trial {
  readonly orgId: string;
  readonly caller: Caller;
  readonly jobId: string;
  readonly fence: Fence;
}

type Act = (trial: Trial) => Promise<unknown>;

const ending =
  (event: LeaseEvent | LeftEvent): Act =>
  ({ orgId, fence }) =>
    endLeases(c, orgId, [{ fence, event, reason: "" }]);
const result =
  (
    event: Parameters<ReturnType<typeof createResultBatcher>["add"]>[1]["event"],
    prUrl: string | null = null,
  ): Act =>
  ({ orgId, fence }) =>
    createResultBatcher(c).add(orgId, {
      ...{ fence, event, prUrl, resultId: randomUUID(), result: "1", error: null },
      ...{ lastSequence: 0, reason: null, hasProgress: false },
    });
const failed = (isRetryable: boolean) =>
  result({ type: "failed", isRetryable, isTimedOut: false, retryAfterMs: null });
const change = { reason: "", requestId: "" };
const retry: Act = ({ caller, jobId }) => retryJob(c, caller, { jobId, reason: "" });

// A retry is two events, by where the job is.
const acts: Readonly<Partial<Record<EventType, readonly Act[]>>> = {
  due: [({ orgId }) => promoteDueJobs(c, orgId, AbortSignal.timeout(10_000))],
  unparked: [({ caller, jobId }) => unparkJob(c, caller, { ...change, jobId })],
  hurried: [retry],
  replayed: [retry],
  claimed: [claim],
  accepted: [({ orgId, fence }) => createAcceptBatcher(c).add(orgId, { ...fence, isDone: () => false })],
  declined: [ending({ type: "declined", coolDownMs: 1_000 })],
  "offer-timed-out": [ending({ type: "offer-timed-out" })],
  withdrawn: [ending({ type: "withdrawn" })],
  succeeded: [result({ type: "succeeded" }), result({ type: "succeeded" }, "https://example.com/pull/1")],
  failed: [failed(true), failed(false)],
  released: [result({ type: "released" })],
  revoked: [
    ({ caller, fence }) => revokeLease(c, caller, { leaseId: fence.leaseId, reason: "", requestId: "" }),
  ],
  cancelled: [result({ type: "cancelled" })],
  parked: [result({ type: "parked", wakeAfterMs: null })],
  left: [ending({ type: "left", isProven: true }), ending({ type: "left", isProven: false })],
  lost: [ending({ type: "lost", isFleetEvent: false }), ending({ type: "lost", isFleetEvent: true })],
  "cancel-requested": [false, true].map(
    (isForced): Act =>
      ({ caller, jobId }) =>
        cancelJob(c, caller, { jobId, reason: "", isForced }),
  ),
  "deadline-passed": [({ caller, jobId }) => cancelOverdueJob(c, caller, jobId)],
  held: [({ caller, jobId }) => parkJob(c, caller, { ...change, jobId, until: null })],
};

/** Lines of the table that no statement serves yet: dependencies are not stored, and nothing is removed. */
const unserved: readonly EventType[] = ["dependency-succeeded", "dependency-ended", "deleted"];

async function claim({ orgId, jobId, fence }: Trial): Promise<void> {
  const shape = String(Math.floor(Math.random() * 2 ** 50));
  await db.admin`update muster.job_queue set shape_id = ${shape} where org_id = ${orgId} and job_id = ${jobId}`;
  const workers = [fence.workerId];
  await runInOrg(c.db.hot, orgId, [claimOf({ org: orgId, shape, slots: workers, epoch: 7 })]);
}

async function place(orgId: string, state: JobState, of: Variant, type: EventType): Promise<Trial> {
  const workerId = await insertWorkerRow(db, orgId, { name: `w-${randomUUID()}`, link: {} });
  const leaseId = randomUUID();
  const { jobId } = await insertJob(db, orgId, {
    ...{ state, attempt: 1, failures: of.failures ?? 0, worker: { workerId, leaseId } },
    ...(type === "due" ? { wakeInMs: -1_000 } : {}),
    ...(of.isCancelRequested ? { isCancelRequested: true } : {}),
  });
  if (isTerminal(state)) {
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.cancelled, state, attempt: 1, workerId });
  }
  await db.admin`
    update muster.job_queue set waiting_on = ${of.waitingOn ?? 0}, losses = ${of.losses ?? 0},
      releases = ${of.releases ?? 0},
      ready_at = case when ${of.isAhead ?? false} then muster.muster_clock() + interval '1 hour' else ready_at end,
      deadline = case when ${type === "deadline-passed"} then muster.muster_clock() - interval '1 second' end
    where org_id = ${orgId} and job_id = ${jobId}`;
  await db.admin`update muster.jobs set at_most_once = ${of.isAtMostOnce ?? false}
    where org_id = ${orgId} and job_id = ${jobId}`;
  return { orgId, caller: testCaller(orgId), jobId, fence: { jobId, attempt: 1, leaseId, workerId } };
}

/** All that is stored of a job, and where that puts it. */
async function look({ orgId, jobId }: Trial): Promise<{ readonly place: Place; readonly stored: string }> {
  const live = await db.admin`select to_jsonb(x) - 'shape_id' as row from muster.job_queue x
    where org_id = ${orgId} and job_id = ${jobId}`;
  const past = await db.admin`select to_jsonb(x) as row from muster.attempts x
    where org_id = ${orgId} and job_id = ${jobId} order by attempt`;
  const state = live[0]?.["row"].state ?? past.at(-1)?.["row"].state;
  return { place: state ?? "nowhere", stored: JSON.stringify([live, past]) };
}

const word = (one: Place) => (one === "nowhere" ? one : stateName(one));
const words = (moves: readonly (readonly [Place, Place])[]) =>
  [...new Set(moves.map(([from, to]) => `${word(from)} → ${word(to)}`))].sort();

describe("what statements write", () => {
  test.each(Object.entries(acts))(
    "on the event %s is what the table says, from every state",
    async (name, tries) => {
      const type = Object.keys(transitionTable).find((known): known is EventType => known === name);
      if (!type || !tries) throw new Error(name);
      const orgId = await db.orgId();
      const seen: [Place, Place][] = [];
      for (const act of tries) {
        for (const state of Object.values(JobState)) {
          if (type === "replayed" && !isTerminal(state)) continue;
          if (type === "hurried" && isTerminal(state)) continue;
          for (const variant of isTerminal(state) ? [{}] : variants) {
            const trial = await place(orgId, state, variant, type);
            const before = await look(trial);
            await act(trial).catch((error: unknown) => {
              if (!(error instanceof Error && "reason" in error)) throw error;
            });
            const after = await look(trial);
            if (after.stored !== before.stored) seen.push([before.place, after.place]);
          }
        }
      }
      expect(words(seen)).toEqual(words(movesOf(type)));
    },
    60_000,
  );

  test("on a submit is what the table says, but for dependencies", async () => {
    const orgId = await db.orgId();
    const caller = testCaller(orgId);
    const seen: [Place, Place][] = [];
    for (const runAt of [null, new Date(db.nowMs() - 1_000), new Date(db.nowMs() + 60_000)]) {
      const submission = { job: jobRequest({ runAt }), idempotencyKey: null, parent: null };
      const { jobId } = await submitJob(c, caller, submission);
      const fence = { jobId, attempt: 1, leaseId: randomUUID(), workerId: randomUUID() };
      seen.push(["nowhere", (await look({ orgId, caller, jobId, fence })).place]);
    }
    const stored = movesOf("submitted").filter(([, to]) => to !== JobState.blocked);
    expect(words(seen)).toEqual(words(stored));
  });

  test("leaves no line of the table out, and no statement", () => {
    const tried = [...Object.keys(acts), "submitted", ...unserved];
    expect(tried.sort()).toEqual(Object.keys(transitionTable).sort());
    const store = fileURLToPath(new URL("../../server/store/", import.meta.url));
    const writing = readdirSync(store)
      .filter((file) => file.endsWith(".ts"))
      .flatMap((file) => {
        const text = readFileSync(`${store}${file}`, "utf8");
        const found = text.match(/(insert into|delete from) \$\{jobQueue\}|set \$\{q\.state\}/g) ?? [];
        return found.map((match) => `${file}: ${match.replace(/[${}]/g, "")}`);
      });
    expect(writing).toEqual([
      "claim.ts: set q.state",
      "job-changes.ts: insert into jobQueue",
      "leases.ts: set q.state",
      "leases.ts: delete from jobQueue",
      "submit.ts: insert into jobQueue",
      "sweeps.ts: set q.state",
      "transitions.ts: set q.state",
      "transitions.ts: delete from jobQueue",
    ]);
  });
});
