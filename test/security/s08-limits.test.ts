import { Code } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countCall, countJobs } from "../../server/domain/key-counts.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { testCaller, testCoordinator } from "../support/database.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

describe("S8 limits are counted atomically", () => {
  test("of 200 calls at once on two coordinators exactly 100 pass at a limit of 100", async () => {
    const peer = await muster.startPeer();
    // The minute has just begun.
    await muster.database.advanceClock(60_500 - (muster.database.nowMs() % 60_000));
    const limits = { callsPerMinute: 100 };
    const { text } = await muster.client(KeyService).createKey({ name: "few", scopes: ["read"], limits });
    const clients = [muster.server, peer].map(({ apiAddress: address }) =>
      createMusterClient(KeyService, { address, key: text }),
    );
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        clients[n % 2]?.whoAmI({}).then(
          () => null,
          (error: unknown) => failure(Promise.reject(error)),
        ),
      ),
    );
    const refused = await Promise.all(answers.filter((one) => one !== null));
    expect(refused).toHaveLength(100);
    for (const one of refused) {
      expect([one?.code, one?.detail?.reason]).toEqual([Code.ResourceExhausted, "RATE_LIMITED"]);
    }
    await muster.database.advanceClock(60_000);
    await clients[0]?.whoAmI({});
  }, 120_000);

  test("jobs of a day are counted whole or not at all", async () => {
    const limits = { jobsPerDay: 100 };
    const { text } = await muster.client(KeyService).createKey({ name: "some", scopes: ["submit"], limits });
    const options = { address: muster.server.apiAddress, key: text };
    const jobs = (count: number) => Array.from({ length: count }, () => ({ kind: "x" }));
    const batches = createMusterClient(BatchService, options);
    await batches.submitBatch({ jobs: jobs(60) });
    expect((await failure(batches.submitBatch({ jobs: jobs(41) }))).detail?.reason).toBe("RATE_LIMITED");
    await batches.submitBatch({ jobs: jobs(39) });
    const single = createMusterClient(JobService, options);
    await single.submitJob({ job: { kind: "x" } });
    expect((await failure(single.submitJob({ job: { kind: "x" } }))).detail?.reason).toBe("RATE_LIMITED");
  }, 60_000);

  test("a key without a limit costs no statement", async () => {
    const c = testCoordinator(muster.database);
    const caller = testCaller(await muster.database.orgId());
    expect(countCall(c, caller)).toBeUndefined();
    expect(countJobs(c, caller, 5)).toBeUndefined();
  });
});
