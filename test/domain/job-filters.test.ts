import { jobStateWords, priorityNames } from "@muster/client/filter";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createIdGenerator, encodeId } from "../../server/domain/ids.ts";
import { createJobCountsReader } from "../../server/domain/job-counts.ts";
import { readJobFilterText } from "../../server/domain/job-lists.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import {
  anyJob,
  type JobFilter,
  readJobIds,
  readMatchingIds,
  type ScanDirection,
} from "../../server/store/job-lists.ts";
import { readOrgByIndex } from "../../server/store/snapshot.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

/** A job as the model knows it. */
interface Known {
  readonly jobId: string;
  readonly state: JobState;
  readonly kind: string;
  readonly queue: string;
  readonly title: string;
  readonly project: string | null;
  readonly pool: string | null;
  readonly externalId: string | null;
  readonly session: string | null;
  readonly skills: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly batchId: string | null;
  readonly parentJobId: string | null;
  readonly worker: string | null;
  readonly priority: number;
  readonly points: number;
  readonly attempt: number;
  readonly failures: number;
  readonly isCancelling: boolean;
  readonly error: string | null;
  readonly fingerprint: string | null;
  readonly ageMs: number;
}

const jobCount = 150;
/** In minutes: of a third of the jobs each, the oldest first. */
const ages = [90, 25, 1];
const workerNames = ["gpu-1", "gpu-2", "mac-1"];

let db: TestDatabase;
let orgId: string;
let known: Known[];
let batches: string[];

beforeAll(async () => {
  db = await createTestDatabase();
  orgId = await db.orgId();
  const workers = new Map<string, string>();
  for (const name of workerNames) workers.set(name, await insertWorkerRow(db, orgId, { name }));
  batches = [db.newId(), db.newId()];
  known = [];
  const seeds = fc.sample(jobSeed, { numRuns: jobCount, seed: 42 });
  // Ids tell when they were made. A batch holds jobs whose ids lie together.
  const ids = new Map(
    ages.map((minutes) => [minutes, createIdGenerator(() => db.nowMs() - minutes * 60_000)]),
  );
  for (const [index, seed] of seeds.entries()) {
    const batchId =
      index < 20 ? (batches[0] ?? null) : index >= 60 && index < 70 ? (batches[1] ?? null) : null;
    const ageMinutes = ages[Math.floor((index * ages.length) / jobCount)] ?? 1;
    const jobId = ids.get(ageMinutes)?.() ?? "";
    known.push(await insertKnown({ ...seed, ageMinutes, jobId }, index, batchId, workers));
  }
  for (const batchId of batches) {
    const ids = known.filter((job) => job.batchId === batchId).map((job) => job.jobId);
    await db.admin`insert into muster.batches (org_id, batch_id, title, first_job_id, last_job_id, total, pending)
      values (${orgId}, ${batchId}, '', ${ids[0] ?? ""}, ${ids.at(-1) ?? ""}, ${ids.length}, 0)`;
  }
  // What another org has is never found.
  await insertJob(db, await db.orgId(), { kind: "agent.prompt" });
}, 120_000);
afterAll(() => db.close());

const jobSeed = fc.record({
  state: fc.constantFrom(...Object.values(JobState)),
  kind: fc.constantFrom("agent.prompt", "agent.code", "shell.run"),
  queue: fc.constantFrom("default", "slow"),
  title: fc.constantFrom("Render the shot", "Fix 100% of it", "a job"),
  project: fc.constantFrom(null, "acme/web", "acme/film"),
  pool: fc.constantFrom(null, "claude"),
  isNamed: fc.boolean(),
  session: fc.constantFrom(null, "s-1", "s-2"),
  skills: fc.subarray(["gpu", "cuda", "swift"]),
  labels: fc.constantFrom({}, { team: "web" }, { team: "film", tier: "1" }),
  worker: fc.constantFrom(...workerNames),
  priority: fc.constantFrom(0, 64, 128, 192, 255),
  points: fc.constantFrom(1, 4, 8),
  attempt: fc.constantFrom(0, 1, 2),
  failures: fc.constantFrom(0, 1),
  isCancelling: fc.boolean(),
  error: fc.constantFrom(null, "Out of memory", "exit 137"),
  fingerprint: fc.constantFrom(null, "f1", "f2"),
  hasParent: fc.boolean(),
});

type JobSeed = typeof jobSeed extends fc.Arbitrary<infer Seed> ? Seed : never;

async function insertKnown(
  seed: JobSeed & { readonly ageMinutes: number; readonly jobId: string },
  index: number,
  batchId: string | null,
  workers: ReadonlyMap<string, string>,
): Promise<Known> {
  const { state, kind, queue, project, labels, points, failures } = seed;
  const isLeased = state === JobState.offered || state === JobState.running;
  const isEnded = state >= JobState.succeeded;
  const isCancelling = seed.isCancelling && state === JobState.running;
  const worker = isLeased ? seed.worker : null;
  const attempt = isEnded ? Math.max(1, seed.attempt) : isLeased ? Math.max(1, seed.attempt) : seed.attempt;
  const error = isEnded || attempt > 0 ? seed.error : null;
  const parentJobId = seed.hasParent ? (known[index - 1]?.jobId ?? null) : null;
  const { jobId } = await insertJob(db, orgId, {
    jobId: seed.jobId,
    state,
    kind,
    queue,
    labels,
    points,
    failures,
    attempt,
    isCancelRequested: isCancelling,
    ...(project === null ? {} : { project }),
    ...(batchId === null ? {} : { batchId }),
    ...(parentJobId === null ? {} : { parentJobId }),
    ...(worker === null ? {} : { worker: { workerId: workers.get(worker) ?? "" } }),
  });
  const externalId = seed.isNamed ? `shot-${index}` : null;
  await db.admin`update muster.jobs set title = ${seed.title}, pool = ${seed.pool}, skills = ${seed.skills},
    external_id = ${externalId}, priority = ${seed.priority},
    created_at = muster.muster_clock() - ${seed.ageMinutes}::float8 * interval '1 minute'
    where org_id = ${orgId} and job_id = ${jobId}`;
  if (externalId !== null) {
    await db.admin`insert into muster.job_keys (org_id, type, key, target_id, fingerprint)
      values (${orgId}, 'external', ${externalId}, ${jobId}, ''::bytea)`;
  }
  await db.admin`update muster.job_queue set session_id = ${seed.session}, priority = ${seed.priority}
    where org_id = ${orgId} and job_id = ${jobId}`;
  const failed = error === null ? {} : { error: { code: "FAILED", message: error } };
  // An attempt of an earlier generation says nothing.
  await insertAttempt(db, orgId, jobId, {
    outcome: Outcome.failed,
    attempt: 0,
    generation: 0,
    error: { code: "FAILED", message: "an old exit" },
  });
  if (isEnded) {
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state, attempt, ...failed });
    await db.admin`update muster.attempts set session_id = ${seed.session}
      where org_id = ${orgId} and job_id = ${jobId} and final`;
    await db.admin.unsafe(
      `insert into muster.tallies (org_id, tally_id, queue, submitted, succeeded, cancelled, dead)
        values ($1, $2, $3, 0, $4, $5, $6)`,
      [
        orgId,
        db.newId(),
        queue,
        ...[JobState.succeeded, JobState.cancelled, JobState.dead].map((one) => (one === state ? 1 : 0)),
      ],
    );
  } else if (attempt > 0 && error !== null) {
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, attempt, ...failed });
  }
  const fingerprint = state === JobState.dead ? seed.fingerprint : null;
  if (fingerprint !== null) {
    await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind)
      values (${orgId}, ${jobId}, 1, 'failures', ${fingerprint}, ${kind})`;
  }
  const ageMs = seed.ageMinutes * 60_000;
  return {
    ...{
      jobId,
      state,
      kind,
      queue,
      labels,
      points,
      failures,
      project,
      batchId,
      parentJobId,
      worker,
      externalId,
    },
    ...{ attempt, error, fingerprint, isCancelling, ageMs },
    ...{
      title: seed.title,
      pool: seed.pool,
      session: seed.session,
      skills: seed.skills,
      priority: seed.priority,
    },
  };
}

/** A condition as text, and what it means. */
interface Condition {
  readonly text: string;
  readonly holds: (job: Known) => boolean;
}

const oneOf = (key: string, values: readonly string[], textsOf: (job: Known) => readonly (string | null)[]) =>
  fc.subarray([...values], { minLength: 1, maxLength: 2 }).map(
    (any): Condition => ({
      text: `${key}:${any.join(",")}`,
      holds: (job) =>
        textsOf(job).some((text) =>
          any.some((value) =>
            value.endsWith("*")
              ? text?.startsWith(value.slice(0, -1)) === true
              : text === value.replaceAll('"', ""),
          ),
        ),
    }),
  );

const compared = (key: string, values: readonly (string | number)[], numberOf: (job: Known) => number) =>
  fc
    .tuple(fc.constantFrom(":", ">", ">=", "<", "<="), fc.constantFrom(...values))
    .map(([operator, value]): Condition => {
      const number = typeof value === "string" ? (priorityNames[value] ?? 0) : value;
      return {
        text: `${key}${operator}${value}`,
        holds: (job) => {
          const given = numberOf(job);
          if (operator === ":") return given === number;
          if (operator === ">") return given > number;
          if (operator === ">=") return given >= number;
          return operator === "<" ? given < number : given <= number;
        },
      };
    });

const contains = (text: string, holds: string, ...fields: (string | null)[]) =>
  fields.some((field) => field?.toLowerCase().includes(holds.toLowerCase()) === true) && text !== "";

const idOf = (noun: "job" | "batch" | "worker", id: string | null) =>
  id === null ? null : encodeId(noun, id);

/** Made when the rows are there: some conditions name ids. */
function condition(): fc.Arbitrary<Condition> {
  const shownBatches = batches.map((id) => encodeId("batch", id));
  const shownJobs = [3, 40, 99].map((index) => encodeId("job", known[index]?.jobId ?? ""));
  const states = fc.subarray(Object.keys(jobStateWords), { minLength: 1, maxLength: 3 }).map(
    (words): Condition => ({
      text: `state:${words.join(",")}`,
      holds: (job) =>
        words.some((word) => {
          if (word === "retry" && job.failures === 0) return false;
          if (word === "cancelling" && !job.isCancelling) return false;
          return jobStateWords[word]?.includes(job.state) === true;
        }),
    }),
  );
  const ageTerms = fc.constantFrom(
    ...[10, 60].flatMap((minutes): Condition[] => [
      { text: `age>${minutes}m`, holds: (job) => job.ageMs > minutes * 60_000 },
      { text: `age<=${minutes}m`, holds: (job) => job.ageMs <= minutes * 60_000 },
    ]),
  );
  const words = fc.constantFrom(
    ...['"100% of"', "SHOT", "shell", "nothing"].map(
      (text): Condition => ({
        text,
        holds: (job) => contains(text, text.replaceAll('"', ""), job.title, job.kind, job.externalId),
      }),
    ),
  );
  const errors = fc.constantFrom(
    ...["memory", '"exit 1"', "failed"].map(
      (text): Condition => ({
        text: `error:${text}`,
        holds: ({ error }) => error !== null && contains(text, text.replaceAll('"', ""), error, "FAILED"),
      }),
    ),
    { text: "error:*", holds: ({ error }: Known) => error !== null },
  );
  const positive = fc.oneof(
    { arbitrary: states, weight: 4 },
    oneOf("kind", ["agent.*", "shell.run", "agent.code", "none"], (job) => [job.kind]),
    oneOf("queue", ["default", "slow", "s*"], (job) => [job.queue]),
    oneOf("project", ["acme/web", "acme/*", "*"], (job) => [job.project]),
    oneOf("pool", ["claude", "*"], (job) => [job.pool]),
    oneOf("external", ["shot-1*", "shot-3", "*", "shot-77"], (job) => [job.externalId]),
    oneOf("session", ["s-1", "s-*"], (job) => [job.session]),
    oneOf("skill", ["gpu", "cu*"], (job) => job.skills),
    oneOf("worker", ["gpu-1", "gpu-*", "*", "nobody"], (job) => [job.worker]),
    oneOf("fingerprint", ["f1", "*"], (job) => [job.fingerprint]),
    oneOf("batch", shownBatches, (job) => [idOf("batch", job.batchId)]),
    oneOf("parent", shownJobs, (job) => [idOf("job", job.parentJobId)]),
    oneOf("id", [...shownJobs, `${shownJobs[1]?.slice(0, 16)}*`], (job) => [idOf("job", job.jobId)]),
    oneOf("label", ["team=web", "team=f*", "tier"], ({ labels }) =>
      Object.entries(labels).flatMap(([name, value]) => [`${name}=${value}`, name]),
    ),
    compared("priority", ["high", "low", 128, 0], (job) => job.priority),
    compared("points", [1, 4], (job) => job.points),
    compared("attempt", [0, 1, 2], (job) => job.attempt),
    { arbitrary: ageTerms, weight: 2 },
    words,
    errors,
  );
  return fc
    .tuple(fc.boolean(), positive)
    .map(([isNegated, one]) => (isNegated ? { text: `-${one.text}`, holds: (job) => !one.holds(job) } : one));
}

function filterOf(text: string): JobFilter {
  return { ...anyJob, terms: readJobFilterText(text) };
}

async function readAll(filter: JobFilter, direction: ScanDirection, limit: number, mostExamined: number) {
  const found: string[] = [];
  let after: string | null = null;
  do {
    const page: { readonly ids: readonly string[]; readonly next: string | null } = await readOrgByIndex(
      db.database.app,
      orgId,
      (tx) => readJobIds(tx, orgId, filter, { direction, after, limit, mostExamined }),
    );
    found.push(...page.ids);
    after = page.next;
  } while (after !== null);
  return found;
}

describe("a filter", () => {
  test("lets through what it says, whichever way the list is read and however its pages are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(condition(), { minLength: 1, maxLength: 3 }),
        fc.constantFrom<ScanDirection>("newest-first", "oldest-first"),
        fc.constantFrom(7, 60, 500),
        fc.constantFrom(20, 100_000),
        async (conditions, direction, limit, mostExamined) => {
          const filter = filterOf(conditions.map((one) => one.text).join(" "));
          const expected = known
            .filter((job) => conditions.every((one) => one.holds(job)))
            .map((job) => job.jobId);
          const sorted = expected.sort();
          if (direction === "newest-first") sorted.reverse();
          expect(await readAll(filter, direction, limit, mostExamined)).toEqual(sorted);
          const matching = await readOrgByIndex(db.database.app, orgId, (tx) =>
            readMatchingIds(tx, orgId, filter, [...known.map((job) => job.jobId), db.newId()]),
          );
          expect(matching.sort()).toEqual([...sorted].sort());
        },
      ),
      { numRuns: 150 },
    );
  }, 120_000);

  test("counts by state what it lets through whatever the state", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(condition(), { maxLength: 2 }), async (conditions) => {
        const counts = createJobCountsReader({ db: db.database });
        const filter = filterOf(conditions.map((one) => one.text).join(" "));
        const stateless = conditions.filter((one) => !/^-?state:/.test(one.text));
        const expected = new Map<JobState, number>();
        for (const job of known.filter((one) => stateless.every(({ holds }) => holds(one)))) {
          expected.set(job.state, (expected.get(job.state) ?? 0) + 1);
        }
        const { states, isAtLeast } = await counts.countJobs(orgId, filter);
        expect(new Map(states.map(({ state, count }) => [state, count]))).toEqual(expected);
        expect(isAtLeast).toBe(false);
      }),
      { numRuns: 80 },
    );
  }, 120_000);

  test("says when it did not count all, and counts the newest", async () => {
    const counts = createJobCountsReader({ db: db.database }, { most: 10 });
    const { states, isAtLeast } = await counts.countJobs(orgId, filterOf("kind:*"));
    expect(isAtLeast).toBe(true);
    expect(states.reduce((sum, { count }) => sum + count, 0)).toBeLessThan(jobCount);
    // Without conditions, and by queue alone, the flushes have counted.
    const all = await counts.countJobs(orgId, anyJob);
    expect(all.isAtLeast).toBe(false);
    expect(all.states.reduce((sum, { count }) => sum + count, 0)).toBe(jobCount);
    const slow = known.filter((job) => job.queue !== "slow").length;
    const { states: others } = await counts.countJobs(orgId, filterOf("-queue:s*"));
    expect(others.reduce((sum, { count }) => sum + count, 0)).toBe(slow);
  });
});
