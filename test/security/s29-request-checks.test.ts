import { type DescMethod, toBinary, toJsonString } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { readError } from "@muster/client/errors";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { requestProblems } from "../../server/rpc/request-checks.ts";
import { send } from "../rpc/listening.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { apiServices } from "../support/services.ts";
import { type HostileRequest, hostileRequests } from "./support/hostile-fields.ts";

const methods = (await apiServices())
  .filter(({ typeName }) => typeName.startsWith("muster."))
  .flatMap((service) => service.methods)
  .filter(({ methodKind }) => methodKind === "unary" || methodKind === "server_streaming")
  .map((method): [string, DescMethod] => [`${method.parent.name}/${method.name}`, method]);

let server: TestServer;
let workerKey = "";
beforeAll(async () => {
  server = await startTestServer();
  workerKey = await server.workerKey();
});
afterAll(() => server?.close());

describe("S29 every field of every request is checked at the edge", () => {
  test.each(methods)("%s, each wrong value at its path", (_name, { input }) => {
    const hostile = hostileRequests(input);
    const missed = hostile.filter(({ path, message }) =>
      requestProblems(input, message).every(({ field }) => field !== path),
    );
    expect(missed.map(({ path, what }) => `${path}: ${what}`)).toEqual([]);
  });

  test("most requests have something to check", () => {
    const some = methods.filter(([, { input }]) => hostileRequests(input).length > 0);
    expect(some.length).toBeGreaterThan(methods.length * 0.8);
  });
});

describe("S29 over the wire", () => {
  const tried = methods.filter(([, { methodKind }]) => methodKind === "unary");

  test.each(tried)("%s, in binary and in JSON", async (name, method) => {
    const hostile = hostileRequests(method.input).filter(({ what }) => !what.startsWith("too"));
    // One of each sort; the rules themselves are tried above.
    const sorts = [...new Map(hostile.map((one) => [one.what, one])).values()];
    const ends = await Promise.all(
      sorts.map(async ({ path, what, message }) => {
        const { code, fields } = await callBinary(method, toBinary(method.input, message));
        return code === "invalid_argument" && fields.includes(path) ? null : `${what}: ${code} ${fields}`;
      }),
    );
    expect(ends.filter((end) => end !== null)).toEqual([]);
    const text = sorts.find(({ what }) => what === "NUL");
    if (text === undefined) return;
    // The other half of a pair: what JSON can say, and no UTF-8.
    const json = toJsonString(method.input, text.message).replaceAll("a\\u0000b", "a\\ud800b");
    const { code, fields } = await callJson(name, method, json);
    expect({ code, fields }).toEqual({
      code: "invalid_argument",
      fields: expect.arrayContaining([text.path]),
    });
  });

  test("the port of workers checks by the same rules", async () => {
    const [hostile] = hostileRequests(WorkerService.method.listParentResults.input).filter(isNul);
    const client = createClient(
      WorkerService,
      createGrpcTransport({
        baseUrl: `http://${server.server.workerAddress}`,
        interceptors: [
          (next) => (request) => {
            request.header.set("authorization", `Bearer ${workerKey}`);
            return next(request);
          },
        ],
      }),
    );
    const call = client.listParentResults(Object(hostile?.message));
    const error = readError(await call.catch((thrown: unknown) => thrown));
    expect(error).toMatchObject({ detail: { reason: "VALIDATION_FAILED" } });
    expect(error.detail?.violations.map(({ field }) => field)).toContain(hostile?.path);
  });
});

test("what the schema refuses and what the method refuses is one answer", async () => {
  const job = '{"kind":"No Kind","softTimeout":"1s","labels":{"a":"b"},"dependsOn":[{"ref":"\\u0000"}]}';
  const method = methods.find(([name]) => name === "JobService/SubmitJob")?.[1];
  if (method === undefined) throw new Error("no such method");
  const { fields } = await callJson("", method, `{"job":${job},"parent":{"jobId":"\\u0000"}}`);
  expect(fields).toEqual(expect.arrayContaining(["job.kind", "parent.jobId", "job.dependsOn[0].ref"]));
});

function isNul({ what }: HostileRequest): boolean {
  return what === "NUL";
}

function keyFor({ parent }: DescMethod): string {
  return parent.typeName === WorkerService.typeName ? workerKey : server.key;
}

async function callBinary(method: DescMethod, body: Uint8Array) {
  const response = await fetch(`${server.server.apiAddress}/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": "application/proto", authorization: `Bearer ${keyFor(method)}` },
    body,
  });
  return explained(response.status === 200 ? {} : await response.json());
}

async function callJson(_name: string, method: DescMethod, body: string) {
  const answer = await send(server.server.apiAddress, {
    path: `/${method.parent.typeName}/${method.name}`,
    headers: { "content-type": "application/json", authorization: `Bearer ${keyFor(method)}` },
    body,
  });
  return explained(answer.json);
}

function explained(answer: unknown): { readonly code: string; readonly fields: readonly string[] } {
  const { code = "ok", details = [] } = Object(answer);
  const violations: { field: string }[] = details[0]?.debug?.violations ?? [];
  return { code, fields: violations.map(({ field }) => field) };
}
