import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Dispatcher } from "../../server/dispatch/dispatcher.ts";
import type { ReadyNews } from "../../server/dispatch/lines.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { pauseQueue, setQueueLimits } from "../../server/domain/queues.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import type { QueueType } from "../../server/domain/rules/limits.ts";
import { internShape } from "../../server/domain/rules/shapes.ts";
import type { HotPool } from "../../server/store/hot-pool.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

/** An org with a worker, and a dispatcher whose uses of the database can be stepped into. */
async function org(slots = 4) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  let uses = 0;
  let done = 0;
  let step: { readonly at: number; readonly body: () => Promise<void> } | null = null;
  const hot = {
    async use<T>(body: Parameters<HotPool["use"]>[0]): Promise<T> {
      if (++uses === step?.at) {
        const { body: stepIn } = step;
        step = null;
        await stepIn();
      }
      return (await db.database.hot.use(body).finally(() => done++)) as T;
    },
  } as unknown as HotPool;
  const dispatcher = new Dispatcher({
    ...{ newId: c.newId, wakes: c.wakes, log: c.log, staleMs: c.config.staleMs, documents: c.documents },
    db: { ...db.database, hot },
    nowMs: () => performance.now(),
  });
  const declared = { ...hello().declared, slots, points: slots };
  const attach = () => attachWorker(c, orgId, { name: "w", hello: hello({ declared }), dispatcher });
  return {
    ...{ orgId, caller, dispatcher, attach },
    submit: async (overrides: Partial<JobRequest> = {}) =>
      (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId,
    pause: (name: string, type: QueueType = "queue") =>
      pauseQueue({ ...c, withdrawOffers: async () => 0 }, caller, { type, name, until: null, reason: "" }),
    limit: (name: string) =>
      setQueueLimits(c, caller, {
        ...{ type: "queue", name, reason: "" },
        limits: { running: 10, startRate: null },
      }),
    /** How often the dispatcher has used the database, to the end. */
    done: () => done,
    /** Does something when the dispatcher is about to use the database for this time from now on. */
    interrupt(use: number, body: () => Promise<void>) {
      step = { at: uses + use, body };
    },
    stateOf: async (jobId: string) => {
      const [row] =
        await db.admin`select state from muster.job_queue where org_id = ${orgId} and job_id = ${jobId}`;
      return Number(row?.["state"]);
    },
  };
}

describe("a gate that comes while a round is under way", () => {
  // A look, a peek at two lines, a claim.
  test.each([2, 3])("lets nothing through, before use %i", async (use) => {
    const { submit, pause, interrupt, attach, dispatcher, orgId, stateOf } = await org();
    const held = await submit({ queue: "held" });
    const free = await submit({ queue: "free" });
    interrupt(use, async () => {
      await pause("held");
      await dispatcher.refresh(orgId);
    });
    const worker = await attach();
    await vi.waitFor(() => expect(worker.offered.map(({ fence }) => fence.jobId)).toContain(free));
    await dispatcher.stop();
    expect(worker.offered.map(({ fence }) => fence.jobId)).toEqual([free]);
    expect(await stateOf(held)).toBe(3);
  });

  test("lets nothing through that another gate has let through", async () => {
    const { submit, pause, limit, interrupt, attach, dispatcher, orgId, stateOf } = await org();
    await limit("held");
    const jobId = await submit({ queue: "held" });
    // A look, a claim.
    const paused = Promise.withResolvers<void>();
    interrupt(2, async () => {
      await pause("test.echo", "kind");
      await dispatcher.refresh(orgId);
      paused.resolve();
    });
    await attach();
    await paused.promise;
    await dispatcher.stop();
    expect(await stateOf(jobId)).toBe(3);
  });
});

test("a job that is to run alone in a paused queue keeps no worker free", async () => {
  const { submit, pause, attach, dispatcher, orgId } = await org();
  await submit({ queue: "held" });
  await db.admin`update muster.shapes set alone = true where org_id = ${orgId}`;
  await pause("held");
  const free = await submit({ queue: "free" });
  const worker = await attach();
  await vi.waitFor(() => expect(worker.offered.map(({ fence }) => fence.jobId)).toEqual([free]));
  await dispatcher.stop();
});

describe("a job whose row somebody else held when it was to be claimed", () => {
  const shapeOf = ({ kind, queue, skills, points }: JobRequest) =>
    internShape({
      ...{ kind, queue, skills, points },
      ...{ pool: null, project: null, target: null, avoid: [], isAlone: false },
    });

  test.each([
    ["alone", ["default"]],
    ["beside another line", ["default", "other"]],
  ])("is offered soon after, %s, without a poll", async (_, queues) => {
    const { orgId, submit, attach, dispatcher, done } = await org();
    const worker = await attach();
    await dispatcher.refresh(orgId);
    const jobs = queues.map((queue) => jobRequest({ queue }));
    const jobIds = await Promise.all(jobs.map((job) => submit(job)));
    await db.admin.begin(async (tx) => {
      await tx`select 1 from muster.job_queue where org_id = ${orgId} for no key update`;
      const before = done();
      dispatcher.announce(
        orgId,
        jobs.map((job): ReadyNews => ({ shape: shapeOf(job), count: 1, priority: 128 })),
      );
      // A claim; of two lines a peek before it.
      await vi.waitFor(() => expect(done() - before).toBeGreaterThanOrEqual(jobs.length), { timeout: 5_000 });
      expect(worker.offered).toEqual([]);
    });
    await vi.waitFor(
      () => expect(worker.offered.map(({ fence }) => fence.jobId).sort()).toEqual(jobIds.sort()),
      {
        timeout: 500,
      },
    );
    await dispatcher.stop();
  });
});
