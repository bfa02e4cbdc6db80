import { randomUUID } from "node:crypto";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { GoingAwayReason } from "@muster/client/v1/link";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
afterEach(() => muster.close());

/** Attaches by hand over a stream; answers with what the coordinator says. */
async function* attach(key: string, address: string, stopped: AbortSignal) {
  const client = createMusterClient(WorkerService, { address, key, httpVersion: "2" });
  const hello = {
    protocol: { major: 1, minor: 0 },
    bootId: randomUUID(),
    hostBootId: "here",
    host: "here",
    kinds: ["by.hand"],
    capacity: { slots: 1, points: 1 },
    demand: { slots: 1, points: 1 },
  };
  async function* requests() {
    yield { frame: { case: "hello" as const, value: hello } };
    await new Promise((resolve) => stopped.addEventListener("abort", resolve, { once: true }));
  }
  yield* client.connect(requests(), { signal: stopped });
}

test("a worker that is disabled at one coordinator loses its link at another, and its job runs again", async () => {
  muster = await startTestServer();
  const peer = await muster.startPeer();
  const key = await muster.workerKey("box");
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const frames = attach(key, peer.apiAddress, stop.signal);
  const next = async (kind: string) => {
    for (;;) {
      const { value, done } = await frames.next();
      if (done) throw new Error("the stream ended");
      if (value?.frame.case === kind) return value.frame.value;
    }
  };
  await next("welcome");
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "by.hand" } });
  await next("offer");
  const admin = muster.client(WorkerAdminService);
  const { worker } = await admin.disableWorker({ name: "box", reason: "smells" });
  expect(worker?.state).toBe(WorkerState.DISABLED);
  expect(await next("goingAway")).toMatchObject({ reason: GoingAwayReason.REVOKED });
  expect((await muster.client(JobService).getJob({ jobId })).job).toMatchObject({
    state: JobState.READY,
    attempt: 1,
  });
  const refused = createMusterClient(WorkerService, { address: muster.server.apiAddress, key });
  expect((await failure(refused.poll({ linkEpoch: 1n }))).detail?.reason).toBe("WORKER_DISABLED");
  for await (const { frame } of attach(
    await muster.workerKey("other"),
    muster.server.apiAddress,
    stop.signal,
  )) {
    if (frame.case !== "offer") continue;
    expect(frame.value.leases[0]?.lease).toMatchObject({ jobId, attempt: 2 });
    break;
  }
  await admin.enableWorker({ name: "box" });
  for await (const { frame } of attach(key, muster.server.apiAddress, stop.signal)) {
    if (frame.case === "welcome") break;
  }
  expect((await admin.getWorker({ name: "box" })).worker?.state).toBe(WorkerState.IDLE);
});

test("a key that is revoked is refused here at once, and elsewhere within a second", async () => {
  muster = await startTestServer();
  const peer = await muster.startPeer();
  const keys = muster.client(KeyService);
  const { key, text } = await keys.createKey({ name: "ci", scopes: ["read"] });
  const at = (address: string) => createMusterClient(KeyService, { address, key: text });
  expect((await at(muster.server.apiAddress).whoAmI({})).key?.name).toBe("ci");
  expect((await at(peer.apiAddress).whoAmI({})).actor).toBe(`key:${key?.keyId}`);
  await keys.revokeKey({ keyId: key?.keyId ?? "" });
  expect((await failure(at(muster.server.apiAddress).whoAmI({}))).detail?.reason).toBe("KEY_INVALID");
  const peerRefuses = async () =>
    at(peer.apiAddress)
      .whoAmI({})
      .then(
        () => false,
        () => true,
      );
  while (!(await peerRefuses()));
  expect((await keys.whoAmI({})).key?.scopes).toContain("admin");
  expect(
    (await failure(keys.revokeKey({ keyId: (await keys.whoAmI({})).key?.keyId ?? "" }))).detail?.reason,
  ).toBe("LAST_ADMIN_KEY");
});
