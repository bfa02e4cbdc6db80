import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { verifyWebhook } from "@muster/client/webhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { runCli } from "../tui/run-cli.ts";

let muster: TestServer;
let arrived: (event: Arrived) => void = () => {};
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    arrived({ headers: request.headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(200).end();
  });
});

interface Arrived {
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

beforeAll(async () => {
  muster = await startTestServer({ outboundAllow: ["127.0.0.1"] });
  await muster.startPeer();
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  await muster?.close();
  receiver.closeAllConnections();
  receiver.close();
});

test("a service is told how jobs went, by a webhook that the command line made, and again by a replay", async () => {
  const input = { env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key } };
  const run = async (...argv: string[]) => {
    const ran = await runCli(["webhook", ...argv], input);
    expect([argv.join(" "), ran.stderr, ran.exitCode]).toEqual([argv.join(" "), expect.anything(), 0]);
    return ran.stdout;
  };
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/in`;
  const file = join(muster.folder, "hook.secret");
  await run("create", "billing", "--url", url, "--secret-file", file, "--queue", "paid");
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const secret = readFileSync(file, "utf8").trim();

  const came = async (count: number, begin: () => Promise<unknown>) => {
    const all: Arrived[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    arrived = (event) => {
      all.push(event);
      if (all.length === count) resolve();
    };
    await begin();
    await promise;
    return all.map(({ headers, body }) => {
      const { id } = verifyWebhook(secret, { headers, body });
      return { ...JSON.parse(body), webhookId: id };
    });
  };

  await muster.startWorker({ handlers: { echo: () => 1 } });
  const jobs = muster.client(JobService);
  let jobId = "";
  const first = await came(1, async () => {
    await jobs.submitJob({ job: { kind: "echo" } });
    ({ jobId } = await jobs.submitJob({ job: { kind: "echo", queue: "paid", title: "invoice" } }));
    await muster.reach(jobId, JobState.SUCCEEDED);
  });
  expect(first).toMatchObject([
    { type: "job.succeeded", subject: jobId, data: { jobId, queue: "paid", title: "invoice", attempt: 1 } },
  ]);
  expect(first[0].webhookId).toBe(first[0].id);

  const [tested] = await came(1, () => run("test", "billing"));
  expect(tested.type).toBe("webhook.test");

  // It is noted as sent after it came.
  const deliveries = async () => JSON.parse(await run("deliveries", "billing", "--json")).deliveries;
  await expect
    .poll(deliveries)
    .toMatchObject([{ eventId: first[0].id, state: "WEBHOOK_DELIVERY_STATE_SENT", tries: 1 }]);
  const [{ deliveryId }] = await deliveries();
  const again = await came(1, () => run("replay", "billing", deliveryId));
  expect(again).toEqual(first);
  expect(await run("list")).toContain("billing");
  expect(await run("get", "billing")).toContain(url);
  const listed = await run("list", "--json");
  expect(listed).not.toContain("whsec_");
  expect(await run("rotate", "billing")).toMatch(/^whsec_/);
  await run("edit", "billing", "--off");
  await run("delete", "billing", "--yes");
}, 60_000);
