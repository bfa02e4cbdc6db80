import { ServerReflection } from "@muster/client/grpc/reflection";
import { KeyService } from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { send } from "../rpc/listening.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { fuzz } from "./fuzz/run.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

async function call(method: string, body: string, headers: Record<string, string> = {}) {
  const answer = await send(server.server.apiAddress, {
    path: `/muster.v1.${method}`,
    headers: { "content-type": "application/json", authorization: `Bearer ${server.key}`, ...headers },
    body,
  });
  const { code = "ok", details = [] } = Object(answer.json);
  const violations: { field?: string }[] = details[0]?.debug?.violations ?? [];
  return { code, fields: violations.map(({ field }) => field), json: answer.json };
}

const submit = (payload: string) =>
  call("JobService/SubmitJob", `{"job":{"kind":"echo","payload":{"json":${payload}}}}`);

describe("S28 timeouts and nesting are bounded", () => {
  test.each(["31536000000", "9999999999"])("a timeout of %s ms is refused", async (ms) => {
    const { code } = await call("StatusService/GetStatus", "{}", { "connect-timeout-ms": ms });
    expect(code).toBe("invalid_argument");
  });

  test.each([
    ["lists", `${"[".repeat(10_000)}${"]".repeat(10_000)}`],
    ["objects", `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`],
  ])("%s 10,000 deep are refused", async (_what, deep) => {
    expect((await submit(deep)).code).toBe("invalid_argument");
  });
});

describe("S29 every request is checked at the edge", () => {
  test("all that is wrong is told at once, with its path", async () => {
    const { code, fields } = await call(
      "JobService/SubmitJob",
      '{"job":{"kind":"No Kind","queue":"Not A Queue","points":-1,"requiredSkills":["\\u0000"]}}',
    );
    expect(code).toBe("invalid_argument");
    expect(fields).toEqual(
      expect.arrayContaining(["job.kind", "job.queue", "job.points", "job.requiredSkills[0]"]),
    );
  });

  test("20,000 requests made from the descriptors end in no error of the coordinator's own", async () => {
    const { key } = await server.client(KeyService).whoAmI({});
    const report = await fuzz({
      apiAddress: server.server.apiAddress,
      workerAddress: `http://${server.server.workerAddress}`,
      adminKey: server.key,
      spared: [key?.keyId ?? ""],
      workerKey: () => server.workerKey(),
      requests: 20_000,
      seed: 1,
      reflection: ServerReflection,
    });
    expect(report.failures).toEqual([]);
    expect(Object.keys(report.reached).length).toBeGreaterThan(report.methods / 2);
  }, 600_000);
});

describe("S30 NUL, lone surrogates and huge numbers stop no job", () => {
  test.each([
    ["a NUL", '"\\u0000"'],
    ["a lone surrogate", '"\\ud800"'],
    ["a number that no double is", "1e400"],
  ])("%s in a payload is refused at the submission, or comes back as it went in", async (_what, payload) => {
    const { code } = await submit(payload);
    expect(["invalid_argument", "ok"]).toContain(code);
  });
});

describe("S31 inputs that are searched are bounded", () => {
  test.each([
    ["a filter of many brackets", `${"(".repeat(50_000)}`],
    ["a filter of many words", `${"a:b ".repeat(50_000)}`],
    ["a filter of quotes", `${'"'.repeat(50_001)}`],
    ["a pattern that explodes", `text:/${"(a+)+".repeat(1_000)}$/`],
  ])("%s", async (_what, filter) => {
    await call("JobService/ListJobs", "{}");
    const startedMs = performance.now();
    const { code } = await call("JobService/ListJobs", JSON.stringify({ filter }));
    expect(code).toBe("invalid_argument");
    expect(performance.now() - startedMs).toBeLessThan(500);
  });
});
