import type { Row } from "postgres";
import { isConnectionLost, isSerialisation } from "../store/connection-errors.ts";
import type { HotPool } from "../store/hot-pool.ts";
import { type Call, call, type OrgTx, runInOrg, transact } from "../store/statement.ts";
import {
  type AuditRow,
  dropKeys,
  holdParents,
  insertAuditRows,
  insertNewBatch,
  insertNewJobs,
  insertNewShapes,
  type NewJob,
  readBatchJobs,
  readKeys,
  takeKeys,
} from "../store/submit.ts";
import { Batcher } from "./batcher.ts";
import { type Parent, resolveParents } from "./dependencies.ts";
import { alreadyExists, type DomainError } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { InternedShape } from "./rules/shapes.ts";
import { readAttemptsOf, superseded } from "./superseded.ts";

/** A lease as its holder names it: uuids. */
export interface Lease {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
}

/** A key that a submission takes. */
export interface SubmitKey {
  readonly type: "idempotency" | "external";
  readonly key: string;
  /** SHA-256 of what was asked, in hex. */
  readonly fingerprint: string;
  /** The job or batch that the key will name. */
  readonly targetId: string;
  /** Null: as long as the job. */
  readonly lifeMs: number | null;
}

/** One call: inserted whole or not at all. */
export interface Submission {
  /** In the order of their ids. */
  readonly jobs: readonly NewJob[];
  readonly batch: { readonly batchId: string; readonly title: string } | null;
  readonly keys: readonly SubmitKey[];
  /** The lease under which child jobs are submitted, with the worker that must hold it. */
  readonly parent: (Lease & { readonly workerId: string }) | null;
  /** Null: what submits it is evidence enough. */
  readonly audit: AuditRow | null;
  /** What the jobs wait for, job by job; null: nothing. */
  readonly dependencies: readonly (readonly Parent[])[] | null;
}

/** What a submission came to. An error is this submission's own: others of its flush are not touched. */
export type SubmitAnswer =
  | { readonly jobIds: readonly string[]; readonly batchId: string | null; readonly isReplayed: boolean }
  | { readonly error: DomainError };

/** What goes into the transaction of a submission behind its own statements: the claim of its jobs. */
export interface Ride {
  readonly calls: readonly Call[];
  /** After the commit, with the rows of each call. Returns what is left to be claimed. */
  committed(rows: readonly (readonly Row[])[]): readonly ReadyCount[];
  /** There was no commit, or nobody knows. */
  failed(error: unknown): void;
}

/** What the flush of submissions works with. */
export interface SubmitOptions {
  readonly hot: HotPool;
  readonly newId: () => string;
  /** Asked before new jobs are inserted that nothing holds back. Null, or absent: they are only told of after it. */
  readonly ride?: (orgId: string, ready: readonly ReadyCount[], jobIds: readonly string[]) => Ride | null;
  /** Called after commit with what was inserted, and not leased at once. */
  readonly submitted: (orgId: string, ready: readonly ReadyCount[]) => void;
  /** Called after commit when ends of jobs wait for the sweep that takes them to who depends on them. */
  readonly released: (orgId: string) => void;
}

/** So many new jobs of a shape, up to this priority. */
export interface ReadyCount {
  readonly shape: InternedShape;
  readonly count: number;
  readonly priority: number;
}

/** Makes the batcher of submissions: T1. */
export function createSubmitBatcher(options: SubmitOptions): Batcher<Submission, SubmitAnswer> {
  const known = new Set<string>();
  return new Batcher({
    maxWeight: 2_000,
    maxInFlight: 2,
    maxQueuedWeight: 100_000,
    weigh: ({ jobs, dependencies }) =>
      (dependencies ?? []).reduce((sum, parents) => sum + parents.length, jobs.length),
    flush: (orgId, items) => flushSubmissions(options, known, orgId, items),
  });
}

async function flushSubmissions(
  options: SubmitOptions,
  known: Set<string>,
  orgId: string,
  submissions: readonly Submission[],
): Promise<readonly SubmitAnswer[]> {
  const decides = submissions.some((one) => one.keys.length > 0 || one.parent !== null || one.dependencies);
  const answers: SubmitAnswer[] = submissions.map(fresh);
  const shapes = newShapes(known, orgId, submissions);
  let accepted = submissions;
  let leavesEnds = false;
  let left: readonly ReadyCount[] | null = null;
  if (decides) {
    await transact(options.hot, orgId, async (tx) => {
      await refuseStaleParents(tx, submissions, answers);
      await resolveKeys(tx, submissions, answers);
      const resolved = await resolveParents(tx, submissions, (index) => isFresh(answers[index]));
      await refuse(tx, submissions, answers, resolved.refused);
      accepted = resolved.submissions.filter((_, index) => isFresh(answers[index]));
      leavesEnds = resolved.leavesEnds;
      const calls = [...insertions(options, orgId, accepted, shapes), ...resolved.calls];
      await Promise.all(calls.map((one) => tx.run(one)));
    });
  } else {
    left = await insertAndLease(options, orgId, submissions, insertions(options, orgId, submissions, shapes));
  }
  for (const shape of shapes) known.add(`${orgId}:${shape.shapeId}`);
  left ??= countShapes(accepted);
  if (left.length > 0) options.submitted(orgId, left);
  if (leavesEnds) options.released(orgId);
  return answers;
}

// In one transaction where workers wait for such jobs. Returns what is left to be claimed.
async function insertAndLease(
  { hot, ride: ask }: SubmitOptions,
  orgId: string,
  submissions: readonly Submission[],
  calls: readonly Call[],
): Promise<readonly ReadyCount[]> {
  const jobs = submissions.flatMap((one) => one.jobs);
  const ready = countShapes(submissions);
  const isReady = jobs.every(({ runAt, waitingOn }) => runAt === null && waitingOn === 0);
  const jobIds = jobs.map(({ jobId }) => jobId);
  const ride = isReady ? ask?.(orgId, ready, jobIds) : null;
  if (ride) {
    const rows = await runInOrg(hot, orgId, [...calls, ...ride.calls]).catch((error: unknown) => {
      ride.failed(error);
      if (isConnectionLost(error) || isSerialisation(error)) throw error;
      // Whatever was wrong with the claim is nothing to who submits.
      return null;
    });
    if (rows) {
      const left = ride.committed(rows.slice(calls.length));
      // What is written in this turn of the event loop leaves after it: the offers go before the answer is made.
      await new Promise((resolve) => setImmediate(resolve));
      return left;
    }
  }
  await runInOrg(hot, orgId, calls);
  return ready;
}

/** The jobs of submissions that wait for nothing, by shape: what is submitted joins the end of its line. */
export function countShapes(submissions: readonly Pick<Submission, "jobs">[]): ReadyCount[] {
  const counts = new Map<bigint, { readonly shape: InternedShape; count: number; priority: number }>();
  for (const { jobs } of submissions) {
    for (const { template, waitingOn } of jobs) {
      if (waitingOn > 0) continue;
      const { shape, priority } = template;
      const counted = counts.get(shape.shapeId);
      if (counted) {
        counted.count++;
        counted.priority = Math.max(counted.priority, priority);
      } else counts.set(shape.shapeId, { shape, count: 1, priority });
    }
  }
  return [...counts.values()];
}

function fresh(submission: Submission): SubmitAnswer {
  return {
    jobIds: submission.jobs.map((job) => job.jobId),
    batchId: submission.batch?.batchId ?? null,
    isReplayed: false,
  };
}

function isFresh(answer: SubmitAnswer | undefined): boolean {
  return answer !== undefined && "jobIds" in answer && !answer.isReplayed;
}

function insertions(
  { newId }: SubmitOptions,
  orgId: string,
  submissions: readonly Submission[],
  shapes: readonly InternedShape[],
) {
  if (submissions.length === 0) return [];
  const rows = submissions.flatMap((one) => one.jobs);
  return [
    ...(shapes.length > 0 ? [insertNewShapes(orgId, shapes)] : []),
    insertNewJobs(orgId, newId(), rows),
    ...submissions.flatMap(({ batch, jobs }) =>
      batch ? [insertNewBatch(orgId, batch.batchId, batch.title, jobs)] : [],
    ),
    insertAuditRows(
      orgId,
      submissions.flatMap((one) => one.audit ?? []),
    ),
  ];
}

function newShapes(known: Set<string>, orgId: string, submissions: readonly Submission[]): InternedShape[] {
  const shapes = new Map<bigint, InternedShape>();
  for (const { jobs } of submissions) {
    for (const { template } of jobs) {
      if (!known.has(`${orgId}:${template.shape.shapeId}`))
        shapes.set(template.shape.shapeId, template.shape);
    }
  }
  return [...shapes.values()];
}

// Children may be submitted under a current lease alone; its row stays locked until the commit.
async function refuseStaleParents(
  tx: OrgTx,
  submissions: readonly Submission[],
  answers: SubmitAnswer[],
): Promise<void> {
  const parents = submissions.flatMap((one) => (one.parent ? [one.parent] : []));
  if (parents.length === 0) return;
  const rows = await tx.run(
    call(holdParents, {
      org: tx.orgId,
      jobs: parents.map((one) => one.jobId),
      attempts: parents.map((one) => one.attempt),
      leases: parents.map((one) => one.leaseId),
      workers: parents.map((one) => one.workerId),
    }),
  );
  const current = new Set(rows.map((row) => String(row["lease"])));
  const stale = parents.filter((one) => !current.has(one.leaseId));
  if (stale.length === 0) return;
  const known = await readAttemptsOf(
    tx,
    stale.map((one) => one.jobId),
  );
  for (const [index, { parent }] of submissions.entries()) {
    if (parent && !current.has(parent.leaseId)) {
      answers[index] = { error: superseded(parent, known.current.get(parent.jobId) ?? 0) };
    }
  }
}

// Takes the keys of fresh submissions; who finds a key taken is answered with its owner, or refused.
async function resolveKeys(
  tx: OrgTx,
  submissions: readonly Submission[],
  answers: SubmitAnswer[],
): Promise<void> {
  const seen = new Set<string>();
  const wanted: { index: number; key: SubmitKey }[] = [];
  const repeated: { index: number; key: SubmitKey }[] = [];
  for (const [index, { keys }] of submissions.entries()) {
    if (!isFresh(answers[index])) continue;
    for (const key of keys) {
      const name = nameOf(key);
      (seen.has(name) ? repeated : wanted).push({ index, key });
      seen.add(name);
    }
  }
  if (wanted.length === 0) return;
  // One order everywhere: two flushes that want the same keys wait, and never for each other.
  const sorted = wanted.map(({ key }) => key).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const rows = await tx.run(
    call(takeKeys, {
      org: tx.orgId,
      types: sorted.map((key) => key.type),
      keys: sorted.map((key) => key.key),
      targets: sorted.map((key) => key.targetId),
      prints: sorted.map((key) => key.fingerprint),
      lives: sorted.map((key) => key.lifeMs),
    }),
  );
  const taken = new Set(rows.map((row) => `${row["type"]}:${row["key"]}`));
  const lost = [...wanted.filter(({ key }) => !taken.has(nameOf(key))), ...repeated];
  if (lost.length === 0) return;
  const owners = new Map(
    (
      await readOwners(
        tx,
        lost.map(({ key }) => key),
      )
    ).map((owner) => [`${owner.type}:${owner.key}`, owner]),
  );
  const positions = new Map(wanted.map(({ index, key }) => [key.targetId, index]));
  for (const { index, key } of lost) {
    const submission = submissions[index];
    const owner = owners.get(nameOf(key));
    if (!submission || !owner || !isFresh(answers[index])) continue;
    // The owner may be of this very flush, and not inserted yet: what becomes of it becomes of its repetition.
    const own = answers[positions.get(owner.target) ?? -1];
    const isRepeated = own !== undefined && ("error" in own || owner.print === key.fingerprint);
    if (!isRepeated) answers[index] = await answerTaken(tx, submission, key, owner);
    else answers[index] = "error" in own ? own : { ...own, isReplayed: true };
  }
  const refused = lost.map(({ index }) => index);
  const given = wanted.filter(({ index, key }) => refused.includes(index) && taken.has(nameOf(key)));
  await giveBack(
    tx,
    given.map(({ key }) => key),
  );
}

// What they took is free again, and their repetitions in this flush are answered alike.
async function refuse(
  tx: OrgTx,
  submissions: readonly Submission[],
  answers: SubmitAnswer[],
  refused: ReadonlyMap<number, DomainError>,
): Promise<void> {
  if (refused.size === 0) return;
  const byJob = new Map([...refused].map(([index, error]) => [submissions[index]?.jobs[0]?.jobId, error]));
  for (const [index, answer] of answers.entries()) {
    const error = "error" in answer ? undefined : byJob.get(answer.jobIds[0]);
    if (error) answers[index] = { error };
  }
  await giveBack(
    tx,
    [...refused.keys()].flatMap((index) => submissions[index]?.keys ?? []),
  );
}

async function giveBack(tx: OrgTx, keys: readonly SubmitKey[]): Promise<void> {
  if (keys.length === 0) return;
  const [types, names] = [keys.map((key) => key.type), keys.map((key) => key.key)];
  await tx.run(call(dropKeys, { org: tx.orgId, types, keys: names }));
}

interface KeyOwner {
  readonly type: string;
  readonly key: string;
  readonly target: string;
  readonly print: string;
}

async function readOwners(tx: OrgTx, keys: readonly SubmitKey[]): Promise<KeyOwner[]> {
  const rows = await tx.run(
    call(readKeys, { org: tx.orgId, types: ["idempotency", "external"], keys: keys.map((key) => key.key) }),
  );
  return rows.map((row) => ({
    type: String(row["type"]),
    key: String(row["key"]),
    target: String(row["target"]),
    print: String(row["print"]),
  }));
}

async function answerTaken(
  tx: OrgTx,
  submission: Submission,
  key: SubmitKey,
  owner: KeyOwner,
): Promise<SubmitAnswer> {
  const isSame = owner.print === key.fingerprint;
  if (key.type === "external") {
    // A batch is one answer: it cannot be half a replay.
    if (isSame && !submission.batch) return { jobIds: [owner.target], batchId: null, isReplayed: true };
    const jobId = encodeId("job", owner.target);
    return { error: alreadyExists("EXTERNAL_ID_CONFLICT", { externalId: key.key, jobId }) };
  }
  if (!isSame) return { error: alreadyExists("IDEMPOTENCY_CONFLICT", { idempotencyKey: key.key }) };
  if (!submission.batch) return { jobIds: [owner.target], batchId: null, isReplayed: true };
  const rows = await tx.run(call(readBatchJobs, { org: tx.orgId, batch: owner.target }));
  return { jobIds: rows.map((row) => String(row["job"])), batchId: owner.target, isReplayed: true };
}

function nameOf(key: SubmitKey): string {
  return `${key.type}:${key.key}`;
}
