import { once } from "node:events";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { type ApiError, makeError, readError } from "@muster/client/errors";
import { ErrorDetailSchema } from "@muster/client/v1/error";
import { JobService, SubmitJobRequestSchema } from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import { afterEach, describe, expect, test } from "vitest";
import {
  DomainError,
  invalidArgument,
  notFound,
  overloaded,
  type Violation,
} from "../../server/domain/errors.ts";
import { toStatus } from "../../server/rpc/errors.ts";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { listening as open, type Stubs } from "./listening.ts";

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

describe.each(Object.entries(protocols))("over %s", (_name, transportTo) => {
  test("a domain error carries code, message, reason, fields, suggestion, request id and delay", async () => {
    const thrown: DomainError[] = [
      invalidArgument([
        { field: "job.kind", message: "is required" },
        { field: "job.points", message: "must be from 1 to 10000" },
      ]),
      notFound("JOB_NOT_FOUND", "job_x"),
      // A delay that no clock of whole milliseconds made.
      overloaded(1_499.5),
    ];
    const { address } = await listening({
      jobs: {
        getJob() {
          throw thrown.shift();
        },
      },
    });
    const client = createClient(JobService, transportTo(address));
    const headers = { ...auth.headers, "x-request-id": "req-from-caller.1" };
    const invalid = await errorOf(client.getJob({}, { headers }));
    expect(invalid.code).toBe(Code.InvalidArgument);
    expect(invalid.message).toBe("job.kind is required (and 1 more)");
    expect(invalid.detail).toMatchObject({
      reason: "VALIDATION_FAILED",
      suggestion: "Correct the fields that are named.",
      requestId: "req-from-caller.1",
      violations: [
        { field: "job.kind", message: "is required" },
        { field: "job.points", message: "must be from 1 to 10000" },
      ],
    });
    const missing = await errorOf(client.getJob({}, auth));
    expect(missing).toMatchObject({ code: Code.NotFound, message: "There is no such job: job_x" });
    expect(missing.detail).toMatchObject({ reason: "JOB_NOT_FOUND", metadata: { id: "job_x" } });
    expect(missing.detail?.requestId).toMatch(/^req_/);
    const busy = await errorOf(client.getJob({}, auth));
    expect(busy.code).toBe(Code.ResourceExhausted);
    expect(busy.detail?.retryAfter).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
  });

  test("an unknown exception tells its request id and nothing of itself, and is logged", async () => {
    const { address, log } = await listening({
      jobs: {
        getJob() {
          throw new Error("select * from secrets");
        },
      },
    });
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.code).toBe(Code.Internal);
    expect(error.detail?.reason).toBe("INTERNAL");
    expect(
      JSON.stringify(error, (_key, value) => (typeof value === "bigint" ? `${value}` : value)),
    ).not.toContain("secrets");
    expect(error.detail?.requestId).toMatch(/^req_/);
    const [line] = log.lines.filter((one) => one.level === "error");
    expect(line?.fields).toMatchObject({
      requestId: error.detail?.requestId,
      method: "muster.v1.JobService/GetJob",
      err: { message: "select * from secrets" },
    });
  });

  test("a lost database is unavailable, with a time to try again", async () => {
    const { address } = await listening({
      jobs: {
        getJob() {
          const cause = Object.assign(new Error("write CONNECTION_CLOSED db:5432"), {
            code: "CONNECTION_CLOSED",
          });
          throw new Error("Failed query: select", { cause });
        },
      },
    });
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.detail).toMatchObject({ reason: "DATABASE_UNAVAILABLE", retryAfter: { seconds: 1n } });
  });

  test("a stream that fails after its first message says why", async () => {
    const { address } = await listening({
      status: {
        async *watchStatus() {
          yield { status: { org: "acme" } };
          throw notFound("ORG_NOT_FOUND", "org_x");
        },
      },
    });
    const watch = createClient(StatusService, transportTo(address)).watchStatus({}, auth);
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { status } of watch) seen.push(status?.org ?? "");
    })();
    expect((await errorOf(reading)).detail?.reason).toBe("ORG_NOT_FOUND");
    expect(seen).toEqual(["acme"]);
  });

  test("a method without implementation says so", async () => {
    const { address } = await listening();
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.code).toBe(Code.Unimplemented);
    expect(error.detail).toMatchObject({ reason: "UNIMPLEMENTED", suggestion: expect.stringMatching(/\S/) });
  });

  test("a message above 4 MiB is refused, before any interceptor", async () => {
    const { address } = await listening();
    const client = createClient(JobService, transportTo(address));
    const job = { kind: "shell.run", title: "x".repeat(4 * 1024 * 1024 + 1) };
    const error = await errorOf(client.submitJob({ job }, auth));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.detail).toMatchObject({
      reason: "MESSAGE_TOO_LARGE",
      metadata: { limitBytes: "4194304" },
      suggestion: expect.stringContaining("artifact"),
    });
    expect(error.detail?.requestId).toMatch(/^req_/);
  });

  test("an answer above 4 MiB is not sent", async () => {
    const { address } = await listening({
      jobs: { getJob: () => ({ job: { reason: "x".repeat(4 * 1024 * 1024) } }) },
    });
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.detail).toMatchObject({
      reason: "MESSAGE_TOO_LARGE",
      suggestion: "Ask for fewer rows a page.",
    });
  });

  test("a deadline above a day is refused", async () => {
    const { address } = await listening();
    const client = createClient(JobService, transportTo(address));
    const error = await errorOf(client.getJob({}, { ...auth, timeoutMs: 2 * 86_400_000 }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.detail).toMatchObject({
      reason: "VALIDATION_FAILED",
      suggestion: "Give the call a shorter timeout: at most 24 h.",
    });
  });

  test("ten thousand violations fit into the trailers", async () => {
    const violations: Violation[] = Array.from({ length: 10_000 }, (_, index) => ({
      field: `jobs[${index}].kind`,
      message: "is required",
    }));
    const { address } = await listening({
      jobs: {
        getJob() {
          throw invalidArgument(violations);
        },
      },
    });
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.message).toContain("(and 9999 more)");
    const shown = error.detail?.violations.length ?? 0;
    expect(shown).toBeGreaterThan(50);
    expect(error.detail?.metadata["violationsLeftOut"]).toBe(String(10_000 - shown));
  });

  test("text that is not well-formed still reaches the caller", async () => {
    const { address } = await listening({
      jobs: {
        getJob() {
          throw new DomainError("JOB_NOT_FOUND", { message: "no \ud800 job", details: { id: "\udc00" } });
        },
      },
    });
    const error = await errorOf(createClient(JobService, transportTo(address)).getJob({}, auth));
    expect(error.message).toBe("no \ufffd job");
    expect(error.detail?.reason).toBe("JOB_NOT_FOUND");
  });
});

describe("the mapping", () => {
  test("keeps the detail of an error that has one, under this call's id", () => {
    const error = makeError(Code.Unavailable, "stopping", {
      reason: "SHUTTING_DOWN",
      suggestion: "Try again.",
    });
    expect(toStatus(error, "req_1")).toMatchObject({
      code: Code.Unavailable,
      message: "stopping",
      detail: { reason: "SHUTTING_DOWN", requestId: "req_1" },
    });
  });

  test.each([
    [
      new ConnectError("the operation timed out", Code.DeadlineExceeded),
      Code.DeadlineExceeded,
      "CALL_TIMEOUT",
    ],
    [new ConnectError("gone", Code.Canceled), Code.Canceled, "CALL_CANCELLED"],
    [new ConnectError("who knows", Code.Unknown), Code.Internal, "INTERNAL"],
    [Object.assign(new Error("deadlock"), { code: "40P01" }), Code.ResourceExhausted, "OVERLOADED"],
    ["a string", Code.Internal, "INTERNAL"],
    [undefined, Code.Internal, "INTERNAL"],
  ])("of %s", (error, code, reason) => {
    const status = toStatus(error, "req_1");
    expect([status.code, status.detail.reason]).toEqual([code, reason]);
    expect(status.detail.suggestion).toMatch(/\S/);
    const detail = create(ErrorDetailSchema, status.detail);
    expect(toBinary(ErrorDetailSchema, detail).length).toBeGreaterThan(0);
  });
});

test.each([2, 8, 11])("a stream that its client resets with %i is the client's doing", async (code) => {
  const reset = Promise.withResolvers<unknown>();
  const { address } = await listening({
    status: {
      async *watchStatus(_request, { signal }) {
        yield {};
        await once(signal, "abort");
        reset.resolve(signal.reason);
      },
    },
  });
  const session = connect(address);
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/muster.v1.StatusService/WatchStatus", authorization: "Bearer good" },
    "content-type": "application/grpc",
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5));
  await once(stream, "data");
  stream.close(code);
  const status = toStatus(await reset.promise, "req_1");
  expect([status.code, status.detail.reason]).toEqual([Code.Canceled, "CALL_CANCELLED"]);
  session.destroy();
});

test("requests of this API fit the schema that the tests speak of", () => {
  expect(SubmitJobRequestSchema.fields.map((field) => field.jsonName)).toContain("idempotencyKey");
});
