import { Code } from "@connectrpc/connect";
import { JobState as State } from "@muster/client/v1/job";
import { JobService, type WatchJobResponse } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeId, encodeId } from "../../server/domain/ids.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertEvents, insertJob, insertWorkerRow } from "../support/rows.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;

let api: TestApi;

beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});

afterAll(async () => {
  await api?.stop();
  await db?.close();
});

const textOf = (payload: { content: { case?: string | undefined; value?: unknown } } | undefined): string =>
  payload?.content.case === "data" ? Buffer.from(payload.content.value as Uint8Array).toString() : "";

async function jobs() {
  const client = await api.client();
  return { ...client, service: client.of(JobService) };
}

/** A job that a worker executes. */
async function running(orgId: string) {
  const workerId = await insertWorkerRow(db, orgId, { name: "box" });
  const { jobId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
  return {
    jobId,
    wireId: encodeId("job", jobId),
    async say(...sequences: number[]) {
      const events = sequences.map((sequence) => ({
        sequence,
        timeMs: 1_000,
        type: "log" as const,
        stream: 2 as const,
        level: "info",
        text: `line ${sequence}`,
      }));
      await insertEvents(db, orgId, { jobId, attempt: 1 }, events);
      api.feed.nudge(orgId, [jobId]);
    },
    async succeed(lastSequence: number) {
      const end = { outcome: Outcome.succeeded, state: JobState.succeeded, workerId, lastSequence };
      await insertAttempt(db, orgId, jobId, { ...end, result: '{"ok":true}' });
      api.feed.nudge(orgId, [jobId]);
    },
  };
}

describe("waiting for a job", () => {
  test("ends with the run, and brings its result", async () => {
    const { service, orgId } = await jobs();
    const job = await running(orgId);
    const waiting = service.waitJob({ jobId: job.wireId, timeout: { seconds: 60n } });
    await job.succeed(0);
    const { done, job: ended } = await waiting;
    expect(done).toBe(true);
    expect(ended).toMatchObject({ state: State.SUCCEEDED, workerName: "box" });
    expect(textOf(ended?.result)).toBe('{"ok":true}');
    const { attempts } = await service.listAttempts({ jobId: job.wireId });
    expect(attempts).toMatchObject([{ attempt: 1, outcome: 1, final: true, workerName: "box" }]);
  });

  test("ends with its time", async () => {
    const { service, orgId } = await jobs();
    const { wireId } = await running(orgId);
    const { done, job } = await service.waitJob({ jobId: wireId, timeout: { nanos: 1_000_000 } });
    expect([done, job?.state]).toEqual([false, State.RUNNING]);
    expect((await service.waitJob({ jobId: wireId, timeout: {} })).done).toBe(false);
  });

  test("refuses a job that does not exist, and a timeout above 10 min", async () => {
    const { service } = await jobs();
    const jobId = encodeId("job", db.newId());
    expect((await failure(service.waitJob({ jobId }))).detail?.reason).toBe("JOB_NOT_FOUND");
    const error = await failure(service.waitJob({ jobId: "", timeout: { seconds: 601n } }));
    expect(violationsOf(error)).toEqual(["jobId is required", "timeout must be from 0s to 10m"]);
  });
});

describe("watching a job", () => {
  const shown = ({ body }: WatchJobResponse): string => {
    switch (body.case) {
      case "job":
        return `job ${State[body.value.state]}`;
      case "event":
        return body.value.body.case === "log" ? body.value.body.value.text : `${body.value.body.case}`;
      default:
        return `${body.case}`;
    }
  };

  async function next(watch: AsyncIterator<WatchJobResponse>): Promise<string> {
    const { value, done } = await watch.next();
    return done === true ? "end" : shown(value);
  }

  test("tells all that was said, what is said, and the end", async () => {
    const { service, orgId } = await jobs();
    const job = await running(orgId);
    await job.say(1, 2);
    const watch = service.watchJob({ jobId: job.wireId, events: true })[Symbol.asyncIterator]();
    expect(await next(watch)).toBe("job RUNNING");
    expect([await next(watch), await next(watch)]).toEqual(["line 1", "line 2"]);
    await job.say(3);
    expect(await next(watch)).toBe("line 3");
    await service.cancelJob({ jobId: job.wireId });
    expect(await next(watch)).toBe("job RUNNING");
    await job.say(4);
    await job.succeed(4);
    expect([await next(watch), await next(watch), await next(watch)]).toEqual([
      "line 4",
      "job SUCCEEDED",
      "end",
    ]);
  });

  test("goes on where another watch ended", async () => {
    const { service, orgId } = await jobs();
    const job = await running(orgId);
    await job.say(1, 2, 3);
    await job.succeed(3);
    const seen: string[] = [];
    const after = { attempt: 1, sequence: 2n };
    for await (const message of service.watchJob({ jobId: job.wireId, events: true, after })) {
      seen.push(shown(message));
      if (message.body.case === "job") expect(textOf(message.body.value.result)).toBe('{"ok":true}');
    }
    expect(seen).toEqual(["job SUCCEEDED", "line 3"]);
  });

  test("without events ends with the run", async () => {
    const { service } = await jobs();
    const { jobId } = await service.submitJob({ job: { kind: "a" } });
    const watch = service.watchJob({ jobId })[Symbol.asyncIterator]();
    expect(await next(watch)).toBe("job READY");
    await service.cancelJob({ jobId });
    expect([await next(watch), await next(watch)]).toEqual(["job CANCELLED", "end"]);
  });

  test("shows that it lives when nothing happens for 15 s", async () => {
    const { service, orgId } = await jobs();
    const job = await running(orgId);
    const watch = service.watchJob({ jobId: job.wireId })[Symbol.asyncIterator]();
    expect(await next(watch)).toBe("job RUNNING");
    api.advance(15_000);
    api.feed.nudge(orgId, [job.jobId]);
    expect(await next(watch)).toBe("alive");
    await watch.return?.();
  });

  test("reads as many events as there are, in pages", async () => {
    const { service, orgId } = await jobs();
    const job = await running(orgId);
    const count = 1_200;
    await job.say(...Array.from({ length: count }, (_, n) => n + 1));
    await job.succeed(count);
    let lines = 0;
    for await (const message of service.watchJob({ jobId: job.wireId, events: true })) {
      if (message.body.case === "event") expect(shown(message)).toBe(`line ${++lines}`);
    }
    expect(lines).toBe(count);
    const page = await service.listJobEvents({ jobId: job.wireId, pageSize: 500 });
    expect([page.events.length, page.next?.sequence, page.done]).toEqual([500, 500n, false]);
    const last = await service.listJobEvents({ jobId: job.wireId, after: { attempt: 1, sequence: 1_199n } });
    expect([last.events.length, last.next, last.done]).toEqual([1, undefined, true]);
  });

  test("of an unknown job fails, and leaves no watcher behind when its caller goes", async () => {
    const { service, orgId } = await jobs();
    const unknown = service.watchJob({ jobId: encodeId("job", db.newId()) })[Symbol.asyncIterator]();
    expect((await failure(unknown.next())).detail?.reason).toBe("JOB_NOT_FOUND");
    const job = await running(orgId);
    const gone = new AbortController();
    const watch = service.watchJob({ jobId: job.wireId }, { signal: gone.signal })[Symbol.asyncIterator]();
    await next(watch);
    gone.abort();
    await failure(watch.next());
    expect(api.log.lines.filter((line) => line.level === "error")).toEqual([]);
    expect(decodeId("job", job.wireId)).toBe(job.jobId);
  });
});

test("a coordinator that stops ends waits and watches, telling their callers to come again", async () => {
  const stopping = await openApi(db);
  const client = await stopping.client();
  const service = client.of(JobService);
  const job = await running(client.orgId);
  const watch = service.watchJob({ jobId: job.wireId, events: true })[Symbol.asyncIterator]();
  await watch.next();
  const waiting = failure(service.waitJob({ jobId: job.wireId, timeout: { seconds: 60n } }));
  await stopping.feed.waits(2);
  const watching = failure(watch.next());
  const stopped = stopping.stop(10_000);
  for (const error of [await waiting, await watching]) {
    expect([error.code, error.detail?.reason]).toEqual([Code.Unavailable, "SHUTTING_DOWN"]);
  }
  await stopped;
});
