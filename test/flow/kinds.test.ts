import { PassThrough } from "node:stream";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { QueueService, QueueType } from "@muster/client/v1/queue_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtInKinds } from "../../server/domain/built-in-kinds.ts";
import { startOwnWorker } from "../../tui/commands/own-worker.ts";
import { JobFailure } from "../../worker/failure.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { runCli } from "../tui/run-cli.ts";

let muster: TestServer;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  muster = await startTestServer();
  ends.push(() => muster.close());
  const own = startOwnWorker(
    muster.server,
    {
      kinds: true,
      githubApiUrl: "http://127.0.0.1:1",
      githubToken: undefined,
      githubTokenOrgs: [],
      outboundAllow: [],
    },
    { now: Date.now, stderr: new PassThrough() },
  );
  ends.push(() => own.stop());
});
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const payloadOf = (value: unknown) => ({
  content: { case: "data" as const, value: Buffer.from(JSON.stringify(value)) },
});

describe("built-in kinds", () => {
  test("retry dead jobs, which then run", async () => {
    const jobs = muster.client(JobService);
    let isBroken = true;
    await muster.startWorker({
      handlers: {
        fragile: () => {
          if (isBroken) throw new Error("not yet");
          return null;
        },
      },
    });
    const { jobId } = await jobs.submitJob({ job: { kind: "fragile", retry: { maxAttempts: 1 } } });
    await muster.reach(jobId, JobState.DEAD);
    isBroken = false;
    const retry = { kind: "maintenance.retry-dead", payload: payloadOf({ filter: "kind:fragile" }) };
    const { jobId: retryId } = await jobs.submitJob({ job: retry });
    await muster.reach(retryId, JobState.SUCCEEDED);
    await muster.reach(jobId, JobState.SUCCEEDED);
  });

  test("say what is wrong with a payload, once, and die", async () => {
    const jobs = muster.client(JobService);
    for (const kind of Object.keys(builtInKinds)) {
      const { jobId } = await jobs.submitJob({ job: { kind, payload: payloadOf({ nonsense: 1 }) } });
      const dead = await muster.reach(jobId, JobState.DEAD);
      expect([kind, dead.error?.code, dead.attempt]).toEqual([kind, "PAYLOAD_INVALID", 1]);
      expect(dead.error?.message).toContain("nonsense");
    }
  });

  test("tell their payload, and who serves them", async () => {
    const queues = muster.client(QueueService);
    const { kind } = await queues.getQueue({ type: QueueType.KIND, name: "maintenance.backup" });
    expect(kind).toMatchObject({
      builtIn: true,
      requiredScope: "platform",
      workers: ["coordinator"],
      workerCount: 1,
    });
    expect(JSON.parse(kind?.payloadSchema ?? "")).toMatchObject({
      properties: { keepDays: { default: 30, minimum: 1 } },
      additionalProperties: false,
    });
    const env = { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key };
    const shown = await runCli(["kind", "get", "maintenance.backup"], { env });
    expect(shown.exitCode).toBe(0);
    expect(shown.stdout).toMatch(/served by\s+coordinator/);
    expect(shown.stdout).toMatch(/keepDays\s+integer\s+30/);
  });

  test("are listed with all others, without a job, and with who serves them and how they went", async () => {
    const [queues, jobs] = [muster.client(QueueService), muster.client(JobService)];
    let isBroken = false;
    const handlers = {
      "listed.work": () => {
        if (isBroken) throw new JobFailure("no", { code: "NO", retryable: false });
        return null;
      },
      "listed.idle": () => null,
    };
    const leaving = await muster.startWorker({ handlers: { "listed.gone": () => null } });
    await leaving.stop();
    await muster.startWorker({ handlers });
    for (const state of [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.DEAD]) {
      isBroken = state === JobState.DEAD;
      const { jobId } = await jobs.submitJob({ job: { kind: "listed.work" } });
      await muster.reach(jobId, state);
    }
    const asked = { type: QueueType.KIND, pageSize: 1_000 };
    const { queues: listed } = await queues.listQueues({ ...asked, withKindFacts: true });
    const byName = new Map(listed.map((one) => [one.name, one.kind]));
    expect([...byName.keys()]).toEqual(expect.arrayContaining([...Object.keys(builtInKinds), "listed.gone"]));
    expect([...byName.keys()]).toEqual([...byName.keys()].sort());
    expect(byName.get("listed.work")).toMatchObject({
      ...{ builtIn: false, onDemand: false, workerCount: 1 },
      lastDay: { attempts: 3n, succeeded: 2n, failed: 1n, dead: 1n, successRate: 2 / 3 },
    });
    expect(byName.get("listed.idle")).toMatchObject({ workerCount: 1, lastDay: { attempts: 0n } });
    expect(byName.get("listed.idle")?.lastDay?.successRate).toBeUndefined();
    expect(byName.get("listed.gone")).toMatchObject({ workers: [], workerCount: 0 });
    expect(byName.get("maintenance.backup")).toMatchObject({
      builtIn: true,
      onDemand: true,
      payloadSchema: "",
    });
    const { queues: plain } = await queues.listQueues(asked);
    expect(plain.map(({ name }) => name)).toEqual([...byName.keys()]);
    expect(plain.every(({ kind }) => kind === undefined)).toBe(true);
    const env = { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key };
    const shown = await runCli(["kind", "list"], { env });
    expect(shown.stdout).toMatch(/^listed\.work\tOPEN\tworker-\w+\t3\t66\.6\t1\t/m);
    expect(shown.stdout).toMatch(/^listed\.gone\tOPEN\tnobody\t0\t-\t0\t/m);
    const one = await runCli(["kind", "get", "listed.work"], { env });
    expect(one.stdout).toMatch(/last 24h\s+3 ended, 1 dead/);
    expect(one.stdout).toMatch(/succeeded\s+66\.6 %/);
  });

  test("leave other kinds as they are: served or not, or not there at all", async () => {
    const queues = muster.client(QueueService);
    await muster.startWorker({ handlers: { "only.served": () => null } });
    const { kind } = await queues.getQueue({ type: QueueType.KIND, name: "only.served" });
    expect(kind).toMatchObject({ builtIn: false, payloadSchema: "", workerCount: 1 });
    const unknown = await failure(queues.getQueue({ type: QueueType.KIND, name: "nobody.knows" }));
    expect(unknown.detail?.reason).toBe("QUEUE_NOT_FOUND");
    const { kind: none } = await queues.getQueue({ type: QueueType.QUEUE, name: "default" });
    expect(none).toBeUndefined();
  });
});
