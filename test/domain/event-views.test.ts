import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EventPage, listJobEvents } from "../../server/domain/event-views.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import type { StoredEvent } from "../../server/store/event-codec.ts";
import type { EventPosition } from "../../server/store/event-reads.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertEvents, insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const lines = (...sequences: number[]): StoredEvent[] =>
  sequences.map((sequence) => ({
    sequence,
    timeMs: 1_000,
    type: "log",
    stream: 2,
    level: "",
    text: `${sequence}`,
  }));

/** `1:3`, or `1:4-6 limit` for a gap. */
function shown({ events }: EventPage): string[] {
  return events.map((event) =>
    event.type === "gap"
      ? `${event.attempt}:${event.from}-${event.to} ${event.cause}`
      : `${event.attempt}:${event.sequence}`,
  );
}

async function runningJob(attempt = 1) {
  const orgId = await db.orgId();
  const workerId = await insertWorkerRow(db, orgId, { name: "box" });
  const { jobId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId }, attempt });
  const read = (after: EventPosition | null = null, limit = 0) =>
    listJobEvents(c, testCaller(orgId), jobId, after, limit);
  const say = (events: readonly StoredEvent[], of = attempt) =>
    insertEvents(db, orgId, { jobId, attempt: of }, events);
  return { orgId, workerId, jobId, read, say };
}

describe("the record of a job", () => {
  test("holds what all attempts said, in order", async () => {
    const { orgId, jobId, workerId, read, say } = await runningJob(2);
    await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.lost, workerId });
    await say(lines(1), 2);
    await say(lines(3, 4), 1);
    await say(lines(1, 2), 1);
    const page = await read();
    expect(shown(page)).toEqual(["1:1", "1:2", "1:3", "1:4", "2:1"]);
    expect(page).toMatchObject({ next: null, isDone: false });
    expect(page.events[0]).toEqual({ attempt: 1, ...lines(1)[0] });
  });

  test("tells of every sequence that is missing", async () => {
    const { orgId, jobId, workerId, read, say } = await runningJob(2);
    await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.failed, workerId, lastSequence: 9 });
    await db.advanceClock(60_000);
    await say(lines(2), 1);
    await say(
      [...lines(4), { sequence: 5, timeMs: 1, type: "gap", from: 5, to: 6, cause: "worker" }, ...lines(7)],
      1,
    );
    expect(shown(await read())).toEqual([
      "1:1-1 limit",
      "1:2",
      "1:3-3 limit",
      "1:4",
      "1:5-6 worker",
      "1:7",
      "1:8-9 limit",
    ]);
  });

  test("waits up to 60 s for the end of an attempt before it goes on to the next", async () => {
    const { orgId, jobId, workerId, read, say } = await runningJob(2);
    await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.failed, workerId, lastSequence: 3 });
    await say(lines(1, 2), 1);
    await say(lines(1), 2);
    expect(shown(await read())).toEqual(["1:1", "1:2"]);
    await say(lines(3), 1);
    expect(shown(await read({ attempt: 1, sequence: 2 }))).toEqual(["1:3", "2:1"]);
  });

  test("is done when the run has ended and its tail has come", async () => {
    const { orgId, jobId, workerId, read, say } = await runningJob();
    await say(lines(1));
    expect((await read()).isDone).toBe(false);
    const end = { outcome: Outcome.succeeded, state: JobState.succeeded, workerId, lastSequence: 2 };
    await insertAttempt(db, orgId, jobId, end);
    expect((await read()).isDone).toBe(false);
    await say(lines(2));
    expect(await read()).toMatchObject({ next: null, isDone: true });
    expect(await read({ attempt: 1, sequence: 2 })).toEqual({ events: [], next: null, isDone: true });
  });

  test("is done when the tail can come no more", async () => {
    const { orgId, jobId, workerId, read } = await runningJob();
    const end = { outcome: Outcome.succeeded, state: JobState.succeeded, workerId, lastSequence: 2 };
    await insertAttempt(db, orgId, jobId, end);
    expect(await read()).toEqual({ events: [], next: null, isDone: false });
    await db.advanceClock(60_000);
    const page = await read();
    expect(shown(page)).toEqual(["1:1-2 limit"]);
    expect(page.isDone).toBe(true);
  });

  test("of a job that never ran is empty", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId);
    const page = await listJobEvents(c, testCaller(orgId), jobId, null, 0);
    expect(page).toEqual({ events: [], next: null, isDone: false });
  });

  test("of another org's job, or of none, is not found", async () => {
    const { orgId, jobId } = await runningJob();
    for (const [org, id] of [
      [await db.orgId(), jobId],
      [orgId, db.newId()],
    ] as const) {
      const answer = listJobEvents(c, testCaller(org), id, null, 0);
      await expect(answer).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    }
  });
});

describe("a page of the record", () => {
  test.each([1, 2, 3, 7, 50])(
    "of %i events goes on where it ended, over chunks and attempts",
    async (limit) => {
      const { orgId, jobId, workerId, read, say } = await runningJob(2);
      await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.lost, workerId });
      for (let first = 1; first < 60; first += 3) await say(lines(first, first + 1), 1);
      await say(lines(1, 2, 3));
      const whole = shown(await read());
      expect(whole).toHaveLength(20 * 2 + 19 + 3);
      const found: string[] = [];
      let after: EventPosition | null = null;
      do {
        const page: EventPage = await read(after, limit);
        expect(page.events.length).toBeLessThanOrEqual(limit);
        found.push(...shown(page));
        after = page.next;
      } while (after !== null);
      expect(found).toEqual(whole);
    },
  );

  test("ends at 512 KiB of text, and holds one event in any case", async () => {
    const { read, say } = await runningJob();
    const large = (sequence: number, length: number): StoredEvent => ({
      sequence,
      timeMs: 1,
      type: "message",
      text: "x".repeat(length),
    });
    await say([large(1, 300_000), large(2, 300_000)]);
    await say([large(3, 900_000), large(4, 10)]);
    expect(shown(await read())).toEqual(["1:1"]);
    expect(shown(await read({ attempt: 1, sequence: 1 }))).toEqual(["1:2"]);
    expect(await read({ attempt: 1, sequence: 2 })).toMatchObject({ next: { attempt: 1, sequence: 3 } });
    expect(await read({ attempt: 1, sequence: 3 })).toMatchObject({ next: null, events: [{ sequence: 4 }] });
  });

  test.each([
    [{ attempt: -1, sequence: 0 }],
    [{ attempt: 0, sequence: -1 }],
    [{ attempt: 0.5, sequence: 0 }],
    [{ attempt: 0, sequence: 2 ** 53 }],
    [{ attempt: 2 ** 31, sequence: 0 }],
  ])("after %j is refused", async (after) => {
    const { read } = await runningJob();
    await expect(read(after)).rejects.toMatchObject({ violations: [{ field: "after" }] });
  });
});
