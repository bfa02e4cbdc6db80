import { gzipSync } from "node:zlib";
import { create, fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { credentials, makeClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { type ApiError, readError } from "@muster/client/errors";
import { grpcJsDefinition } from "@muster/client/grpc-js";
import { type ErrorDetail, ErrorDetailSchema } from "@muster/client/v1/error";
import { GetJobRequestSchema, JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { type Answer, jsonHeaders, listening as open, type Stubs, send } from "./listening.ts";

const opened: ApiListener[] = [];

async function listening(stubs?: Stubs) {
  const listener = await open(stubs);
  opened.push(listener);
  return listener;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const auth = { headers: { authorization: "Bearer good" } };

const protocols: Record<string, (baseUrl: string) => Transport> = {
  connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "connect binary over h2c": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  grpc: (baseUrl) => createGrpcTransport({ baseUrl }),
  "grpc-web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
};

const submitPath = "/muster.v1.JobService/SubmitJob";

async function errorOf(call: Promise<unknown>): Promise<ApiError> {
  return readError(
    await call.then(
      () => {
        throw new TypeError("the call succeeded");
      },
      (reason: unknown) => reason,
    ),
  );
}

/** The detail of an error as curl sees it. */
function detailOf(answer: Answer): ErrorDetail {
  const error = answer.json as { details?: { type: string; value: string }[] };
  const [detail] = error.details ?? [];
  expect(detail?.type).toBe("muster.v1.ErrorDetail");
  return fromBinary(ErrorDetailSchema, base64Decode(detail?.value ?? ""));
}

/** Frames one message as gRPC does. */
function envelope(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

describe("JSON that does not fit", () => {
  test("names every unknown and wrong field with its path", async () => {
    const { address } = await listening();
    const body = JSON.stringify({
      job: {
        kindd: "shell.run",
        priority: "high",
        points: 1.5,
        labels: { a: 1 },
        requiredSkills: ["gpu", 7],
        retry: { maxAttemptz: 3 },
        softTimeout: "soon",
        runTime: "tomorrow",
        payload: { json: { "kindd is fine here": [1] } },
      },
      idempotencyKey: 12,
    });
    const answer = await send(address, { path: submitPath, body });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ code: "invalid_argument" });
    const detail = detailOf(answer);
    expect(detail.reason).toBe("VALIDATION_FAILED");
    expect(detail.violations.map(({ field, message }) => `${field} ${message}`)).toEqual([
      "job.kindd is not a field of this request; did you mean kind?",
      "job.priority must be a whole number within its range",
      "job.points must be a whole number within its range",
      'job.labels["a"] must be text of valid Unicode',
      "job.requiredSkills[1] must be text of valid Unicode",
      "job.retry.maxAttemptz is not a field of this request; did you mean maxAttempts?",
      'job.softTimeout must be a duration in seconds, like "30s" or "1.5s"',
      'job.runTime must be a time like "2026-01-31T12:00:00Z"',
      "idempotencyKey must be text of valid Unicode",
    ]);
    expect(detail.requestId).toBe(answer.headers["x-request-id"]);
  });

  test("is an UNKNOWN_FIELD when nothing else is wrong", async () => {
    const { address } = await listening();
    const answer = await send(address, { path: submitPath, body: '{"job":{"kind":"a","kidn":"b"}}' });
    expect(answer.json).toMatchObject({
      code: "invalid_argument",
      message: "job.kidn is not a field of this request; did you mean kind?",
    });
    expect(detailOf(answer)).toMatchObject({
      reason: "UNKNOWN_FIELD",
      suggestion: "Remove it, or correct its name.",
    });
  });

  test.each([
    ["no JSON", "{job:1}", "The body is not valid JSON"],
    ["a list", "[]", "(the whole request) must be an object"],
    ["a key given twice", '{"job":{"kind":"a","kind":"b"}}', "duplicate object key"],
    [
      "an enum value that does not exist",
      '{"view":"ALL"}',
      "view must be one of JOB_VIEW_BASIC, JOB_VIEW_FULL",
    ],
    ["half of a surrogate pair", '{"externalId":"\\ud800"}', "externalId must be text of valid Unicode"],
    ["nothing in a list", '{"job":null,"externalId":{}}', "job is not a field"],
  ])("is refused when it is %s", async (_name, body, message) => {
    const { address } = await listening();
    const path = body.includes('"kind"') ? submitPath : "/muster.v1.JobService/GetJob";
    const answer = await send(address, { path, body });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
    expect(detailOf(answer).suggestion).toMatch(/\S/);
  });

  test("is refused in a GET", async () => {
    const { address } = await listening();
    const message = encodeURIComponent('{"nmae":"x"}');
    const path = `/muster.v1.JobService/GetJob?connect=v1&encoding=json&message=${message}`;
    const answer = await send(address, { path, method: "GET", headers: { authorization: "Bearer good" } });
    expect(detailOf(answer)).toMatchObject({ reason: "UNKNOWN_FIELD", violations: [{ field: "nmae" }] });
  });

  test("is refused when it is compressed, by the name of the field", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "content-encoding": "gzip" };
    const answer = await send(address, { path: submitPath, headers, body: gzipSync('{"job":{"kidn":"b"}}') });
    expect(detailOf(answer)).toMatchObject({ reason: "UNKNOWN_FIELD", violations: [{ field: "kidn" }] });
  });

  test("is refused in a stream over Connect", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "content-type": "application/connect+json" };
    const body = envelope(Buffer.from('{"job_idd":"x"}'));
    const answer = await send(address, { path: "/muster.v1.JobService/WatchJob", headers, body });
    expect(answer.body[0]).toBe(2);
    const end = JSON.parse(answer.body.subarray(5).toString()) as { error: unknown };
    expect(detailOf({ ...answer, json: end.error })).toMatchObject({
      reason: "UNKNOWN_FIELD",
      violations: [{ field: "job_idd", message: expect.stringContaining("did you mean jobId?") }],
    });
  });

  test("of 4 MiB in one key does not come back", async () => {
    const { address } = await listening();
    const answer = await send(address, { path: submitPath, body: `{"${"k".repeat(3_000_000)}":1}` });
    expect(answer.status).toBe(400);
    expect(answer.body.length).toBeLessThan(4_096);
  });
});

describe("what is refused before a method is found or entered", () => {
  test("bytes that are no protobuf, over Connect", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "content-type": "application/proto" };
    const answer = await send(address, { path: submitPath, headers, body: Buffer.from([0x0a, 0xff]) });
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({ code: "invalid_argument" });
    expect(detailOf(answer).reason).toBe("VALIDATION_FAILED");
  });

  test("bytes that are no protobuf, over gRPC-Web", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "content-type": "application/grpc-web+proto" };
    const answer = await send(address, {
      path: submitPath,
      headers,
      body: envelope(Buffer.from([0x0a, 0xff])),
    });
    const trailers = answer.body.subarray(5).toString();
    expect(trailers).toContain("grpc-status: 3");
    expect(trailers).toContain("grpc-status-details-bin: ");
  });

  test("a body above 4 MiB of unknown length, read to its end so that the answer arrives", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "transfer-encoding": "chunked" };
    const answer = await send(address, { path: submitPath, headers, body: Buffer.alloc(6_000_000, " ") });
    expect(answer.status).toBe(429);
    expect(detailOf(answer).reason).toBe("MESSAGE_TOO_LARGE");
  });

  test("an unknown compression", async () => {
    const { address } = await listening();
    const headers = { ...jsonHeaders, "content-encoding": "lzma" };
    const answer = await send(address, { path: submitPath, headers, body: "{}" });
    expect(answer.json).toMatchObject({ code: "unimplemented" });
    expect(detailOf(answer)).toMatchObject({ suggestion: "Send it uncompressed, or as gzip,br." });
  });

  test("a content type that is missing", async () => {
    const { address } = await listening();
    const headers = { "content-type": "application/x-www-form-urlencoded", authorization: "Bearer good" };
    const answer = await send(address, { path: submitPath, headers, body: "{}" });
    expect(answer.status).toBe(415);
    expect(detailOf(answer)).toMatchObject({
      suggestion: 'Add the header "content-type: application/json".',
    });
  });

  test("a method that changes something, by GET", async () => {
    const { address } = await listening();
    const answer = await send(address, { path: submitPath, method: "GET" });
    expect([answer.status, answer.headers["allow"]]).toEqual([405, "POST"]);
    expect(detailOf(answer).suggestion).toContain("POST");
  });

  test.each(Object.keys(protocols))("an unknown method, over %s, with the nearest one", async (name) => {
    const { address } = await listening();
    const transport = protocols[name]?.(address);
    const method = { ...JobService.method.getJob, name: "GetJbo", toString: () => "" };
    const calling = transport?.unary(method, undefined, undefined, auth.headers, create(GetJobRequestSchema));
    const error = await errorOf(calling ?? Promise.resolve());
    expect(error.code).toBe(Code.Unimplemented);
    if (name !== "connect binary over h2c") {
      expect(error.detail?.suggestion).toContain("Did you mean /muster.v1.JobService/GetJob?");
    }
  });

  test("what grpc-js sends, with the detail in its trailers", async () => {
    const { address } = await listening();
    const Stock = makeClientConstructor(grpcJsDefinition(JobService), "JobService");
    const client = new Stock(address.replace("http://", ""), credentials.createInsecure());
    const error = await new Promise<ServiceError>((resolve) => {
      client["getJob"]?.(create(GetJobRequestSchema), (reason: ServiceError) => resolve(reason));
    });
    client.close();
    expect(error.code).toBe(Code.Unauthenticated);
    const [bytes] = error.metadata.get("grpc-status-details-bin");
    expect(Buffer.from(bytes ?? "").toString("latin1")).toContain("KEY_INVALID");
  });

  test("a request id that is not fit to be logged is replaced", async () => {
    const { address } = await listening();
    for (const given of ["a b", "x".repeat(65), "<script>"]) {
      const headers = { ...jsonHeaders, "x-request-id": given };
      const answer = await send(address, { path: submitPath, headers, body: "{" });
      expect(answer.headers["x-request-id"]).toMatch(/^req_/);
      expect(detailOf(answer).requestId).toBe(answer.headers["x-request-id"]);
    }
  });
});
