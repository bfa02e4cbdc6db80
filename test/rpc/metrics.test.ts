import { request } from "node:http";
import { afterEach, expect, test } from "vitest";
import { Counters } from "../../server/domain/counters.ts";
import { metricsRoute } from "../../server/rpc/metrics.ts";
import { listening } from "./listening.ts";

let close = async (): Promise<void> => {};
afterEach(() => close());

async function serve() {
  const counters = new Counters();
  const route = metricsRoute(counters, async (token) => {
    if (token === "broken") throw new Error("no database");
    return token === "admin";
  });
  const listener = await listening({ options: { extraRoutes: [route] } });
  close = () => listener.stop({ graceMs: 0 });
  const get = (headers: Record<string, string> = {}, method = "GET") =>
    new Promise<{ status: number; type: string; body: string }>((resolve, reject) => {
      request(`${listener.address}/metrics`, { headers, method }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            type: response.headers["content-type"] ?? "",
            body: Buffer.concat(chunks).toString(),
          }),
        );
      })
        .on("error", reject)
        .end();
    });
  return { counters, get };
}

test("shows what was counted, in the form that Prometheus reads", async () => {
  const { counters, get } = await serve();
  counters.add("muster_refused_frames_total", { frame: "result", reason: "superseded" });
  counters.add("muster_refused_frames_total", { frame: "result", reason: "superseded" }, 2);
  counters.add("muster_refused_frames_total", { frame: "report", reason: 'a "quoted"\n\\reason' });
  const { status, type, body } = await get();
  expect([status, type]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
  expect(body).toContain("# TYPE muster_refused_frames_total counter\n");
  expect(body).toContain('muster_refused_frames_total{frame="result",reason="superseded"} 3\n');
  expect(body).toContain('reason="a \\"quoted\\"\\n\\\\reason"} 1\n');
  expect(body).toContain("# TYPE muster_fleet_events_total counter\n");
});

test.each([
  ["no key on this machine", {}, 200],
  ["a key for what a proxy passes on", { "x-forwarded-for": "203.0.113.9" }, 401],
  ["an admin's", { "x-forwarded-for": "203.0.113.9", authorization: "Bearer admin" }, 200],
  ["not another's", { forwarded: "for=203.0.113.9", authorization: "Bearer other" }, 401],
  ["and nothing when keys cannot be checked", { forwarded: "x", authorization: "Bearer broken" }, 401],
] as const)("asks for %s", async (_, headers, status) => {
  const { get } = await serve();
  expect((await get(headers)).status).toBe(status);
});

test("is read, not written", async () => {
  const { get } = await serve();
  expect((await get({}, "POST")).status).toBe(405);
});

test("names orgs, so many at most", async () => {
  const { counters, get } = await serve();
  for (let n = 0; n < 250; n++) counters.add("muster_lost_leases_total", { org: `org_${n}` });
  const { body } = await get();
  expect(body).toContain('muster_lost_leases_total{org="org_0"} 1\n');
  expect(body).toContain('muster_lost_leases_total{org="other"} 50\n');
});
