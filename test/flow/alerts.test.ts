import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { AlertCondition, AlertService } from "@muster/client/v1/alert_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { expect, test } from "vitest";
import { startTestServer } from "../support/coordinator.ts";

test("a job that dies is told by a webhook, by one of two coordinators", async () => {
  const muster = await startTestServer({ outboundAllow: ["127.0.0.1"], maxAttempts: 1 });
  const posted: string[] = [];
  const first = Promise.withResolvers<void>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    posted.push(Buffer.concat(chunks).toString());
    response.end();
    first.resolve();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await muster.startPeer();
    const alerts = muster.client(AlertService);
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const target = { case: "webhook" as const, value: { url } };
    await alerts.putAlertChannel({ channel: { name: "hook", target } });
    const rule = { name: "dead", condition: AlertCondition.JOB_DEAD, channels: ["hook"] };
    await alerts.putAlertRule({ rule });
    await muster.startWorker({
      handlers: {
        fail: () => {
          throw new Error("no luck");
        },
      },
    });
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "fail" } });
    await muster.reach(jobId, JobState.DEAD);
    await first.promise;
    expect(JSON.parse(posted[0] ?? "")).toMatchObject({
      type: "alert.firing",
      data: { rule: "dead", alerts: [{ jobIds: [jobId], summary: expect.stringContaining("no luck") }] },
    });
    const sent = async () => (await alerts.listAlerts({})).alerts[0]?.deliveries.map(({ state }) => state);
    await expect.poll(sent, { timeout: 10_000 }).toEqual(["sent"]);
    expect(posted).toHaveLength(1);
  } finally {
    server.closeAllConnections();
    server.close();
    await muster.close();
  }
}, 60_000);
