import { createMusterClient } from "@muster/client/node";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let started: TestServer;
beforeAll(async () => {
  started = await startTestServer();
});
afterAll(() => started?.close());

test("a watcher whose key is revoked is told nothing more", async () => {
  const keys = started.client(KeyService);
  const { key, text } = await keys.createKey({ name: "guest", scopes: ["read"] });
  const guest = createMusterClient(WatchService, { address: started.server.apiAddress, key: text });
  const stop = AbortSignal.timeout(30_000);
  const messages = guest.watchJobs({}, { signal: stop })[Symbol.asyncIterator]();
  const seen: (string | undefined)[] = [];
  while (seen.at(-1) !== "snapshotEnd") seen.push((await messages.next()).value?.body.case);
  const coming = messages.next().catch(String);
  await keys.revokeKey({ keyId: key?.keyId ?? "" });
  await started.client(JobService).submitJob({ job: { kind: "secret.work" } });
  expect(await coming).toMatch(/unauthenticated/);
}, 60_000);
