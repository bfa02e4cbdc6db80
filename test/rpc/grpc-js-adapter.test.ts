import type { Readable } from "node:stream";
import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from "@muster/client/grpc/health";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { JobService } from "@muster/client/v1/job_service";
import { type GetStatusResponse, StatusService } from "@muster/client/v1/status_service";
import { afterEach, describe, expect, test } from "vitest";
import { notFound, unauthenticated } from "../../server/domain/errors.ts";
import { shuttingDown } from "../../server/rpc/errors.ts";
import { createCallGate } from "../../server/rpc/gate.ts";
import { addGrpcJsService } from "../../server/rpc/grpc-js-adapter.ts";
import { HealthState, healthService } from "../../server/rpc/health.ts";
import { reflectionAlphaService, reflectionService, reflectSchema } from "../../server/rpc/reflection.ts";
import { callerWith, keepingLog, listening, type Stubs } from "./listening.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Peer {
  readonly client: Client;
  readonly health: HealthState;
  readonly stop: () => void;
}

/** The API listener of connect-node. */
async function onConnectNode(stubs: Stubs): Promise<Peer> {
  const listener = await listening(stubs);
  closing.push(() => listener.stop({ graceMs: 0 }));
  const stop = (): void => void listener.stop({ graceMs: 5_000 });
  return { client: dial(listener.port), health: listener.health, stop };
}

/** A server of grpc-js with the same services. */
async function onGrpcJs(stubs: Stubs): Promise<Peer> {
  const log = keepingLog();
  const health = new HealthState([StatusService.typeName]);
  health.setServing(true);
  const shutdown = new AbortController();
  const gate = createCallGate({
    log,
    reflection: stubs.reflection ?? "on",
    async authenticate(token, requestId) {
      if (token !== "good") throw unauthenticated();
      return callerWith(["admin"], requestId);
    },
  });
  const parts = { gate, log, shutdownSignal: shutdown.signal };
  const schema = reflectSchema([Health, ServerReflection, StatusService, JobService]);
  const status = {
    getStatus: () => ({ status: { org: "acme" } }),
    async *watchStatus() {
      yield { status: { org: "acme" } };
    },
    ...stubs.status,
  };
  const server = new Server();
  addGrpcJsService(server, Health, healthService(health), parts);
  addGrpcJsService(server, StatusService, status, parts);
  addGrpcJsService(server, ServerReflection, reflectionService(schema), parts);
  addGrpcJsService(server, ServerReflectionAlpha, reflectionAlphaService(schema), parts);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closing.push(() => server.forceShutdown());
  const stop = (): void => {
    health.setServing(false);
    setImmediate(() => shutdown.abort(shuttingDown()));
  };
  return { client: dial(port), health, stop };
}

function dial(port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  closing.push(() => client.close());
  return client;
}

function withKey(headers: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries({ authorization: "Bearer good", ...headers }))
    metadata.set(name, value);
  return metadata;
}

/** What a stock client needs to know of a method. */
function wired(method: DescMethod) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    serialize: (init: object) => Buffer.from(toBinary(method.input, create(method.input, { ...init }))),
    deserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

/** One unary call with the stock client; resolves with the answer, rejects with its error. */
function call<M extends DescMethod>(client: Client, method: M, init: object, metadata = withKey()) {
  const { path, serialize, deserialize } = wired(method);
  const headers = Promise.withResolvers<Metadata>();
  const answer = new Promise<MessageShape<M["output"]>>((resolve, reject) => {
    client
      .makeUnaryRequest(path, serialize, deserialize, init, metadata, (error, value) =>
        error === null && value !== undefined ? resolve(value as MessageShape<M["output"]>) : reject(error),
      )
      .on("metadata", headers.resolve);
  });
  return Object.assign(answer, { headers: headers.promise });
}

function streaming<M extends DescMethod>(client: Client, method: M, init: object) {
  const { path, serialize, deserialize } = wired(method);
  const stream = client.makeServerStreamRequest(path, serialize, deserialize, init, withKey());
  return stream as ClientReadableStream<MessageShape<M["output"]>>;
}

async function next<Answer>(stream: Readable & { read(): Answer }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    stream.once("data", (message: Answer) => {
      stream.pause();
      resolve(message);
    });
    stream.once("error", reject);
    stream.resume();
  });
}

async function failure(promise: Promise<unknown>): Promise<ServiceError> {
  return promise.then(
    () => {
      throw new TypeError("the call succeeded");
    },
    (error: ServiceError) => error,
  );
}

function detailText(error: ServiceError): string {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return Buffer.from(bytes ?? "").toString("latin1");
}

/** Asks by reflection, one answer a question. */
async function reflect(
  client: Client,
  method: DescMethod,
  questions: MessageInitShape<typeof ServerReflectionRequestSchema>[],
): Promise<ServerReflectionResponse[]> {
  const { path, serialize, deserialize } = wired(method);
  const stream = client.makeBidiStreamRequest(path, serialize, deserialize, new Metadata());
  const answers: ServerReflectionResponse[] = [];
  for (const question of questions) {
    stream.write({ host: "h", ...question });
    // Both versions have the same fields.
    answers.push((await next(stream)) as ServerReflectionResponse);
  }
  stream.end();
  await new Promise((resolve) => stream.on("end", resolve).resume());
  return answers;
}

function filesOf({ messageResponse }: ServerReflectionResponse): FileDescriptorProto[] {
  if (messageResponse.case !== "fileDescriptorResponse") throw new TypeError("not a file");
  return messageResponse.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

describe.each([
  ["connect-node", onConnectNode],
  ["grpc-js", onGrpcJs],
])("a stock gRPC client of %s", (_name, open) => {
  test("checks, lists and watches health without a key", async () => {
    const { client, health } = await open({});
    const ask = (service: string) => ({ service });
    const none = new Metadata();
    expect((await call(client, Health.method.check, ask(""), none)).status).toBe(Serving.SERVING);
    const listed = await call(client, Health.method.list, {}, none);
    expect(Object.keys(listed.statuses).sort()).toEqual(["", "muster.v1.StatusService"]);
    const unknown = await failure(call(client, Health.method.check, ask("nope"), none));
    expect([unknown.code, unknown.details]).toEqual([5, "There is no service nope here"]);

    const watch = streaming(client, Health.method.watch, ask("muster.v1.StatusService"));
    expect((await next(watch)).status).toBe(Serving.SERVING);
    health.setServing(false);
    expect((await next(watch)).status).toBe(Serving.NOT_SERVING);
    health.setServing(true);
    expect((await next(watch)).status).toBe(Serving.SERVING);
    watch.on("error", () => {}).cancel();
    const stranger = streaming(client, Health.method.watch, ask("nope"));
    expect((await next(stranger)).status).toBe(Serving.SERVICE_UNKNOWN);
    stranger.on("error", () => {}).cancel();
  });

  test("hears NOT_SERVING before the stream of a stopping coordinator ends", async () => {
    const { client, stop } = await open({});
    const watch = streaming(client, Health.method.watch, {});
    await next(watch);
    const statuses: Serving[] = [];
    const ended = new Promise((resolve) => watch.on("end", resolve).on("error", resolve));
    watch.on("data", (message: HealthCheckResponse) => statuses.push(message.status)).resume();
    stop();
    await ended;
    expect(statuses).toEqual([Serving.NOT_SERVING]);
  });

  test.each([
    ["v1", ServerReflection.method.serverReflectionInfo],
    ["v1alpha", ServerReflectionAlpha.method.serverReflectionInfo],
  ] as const)("reads the schema by reflection %s", async (_version, method) => {
    const { client } = await open({});
    const symbol = (value: string) => ({ messageRequest: { case: "fileContainingSymbol" as const, value } });
    const [services, byName, byService, byMethod, byMessage, byField, byValue, unknown] = await reflect(
      client,
      method,
      [
        { messageRequest: { case: "listServices", value: "" } },
        { messageRequest: { case: "fileByFilename", value: "muster/v1/payload.proto" } },
        symbol("muster.v1.JobService"),
        symbol("muster.v1.JobService.SubmitJob"),
        symbol("muster.v1.JobSpec"),
        symbol("muster.v1.JobSpec.kind"),
        symbol("muster.v1.JOB_STATE_READY"),
        symbol("muster.v1.Nothing"),
      ],
    );
    expect(services?.messageResponse).toMatchObject({
      case: "listServicesResponse",
      value: { service: expect.arrayContaining([expect.objectContaining({ name: "muster.v1.JobService" })]) },
    });
    const names = (answer: ServerReflectionResponse | undefined) =>
      answer === undefined ? [] : filesOf(answer).map((file) => file.name);
    // A file comes with all that it imports, as far as this stream has not sent it.
    expect(names(byName)).toEqual(["muster/v1/payload.proto", "google/protobuf/struct.proto"]);
    expect(names(byService)).toEqual([
      "muster/v1/job_service.proto",
      "google/protobuf/duration.proto",
      "google/protobuf/timestamp.proto",
      "muster/v1/access.proto",
      "google/protobuf/descriptor.proto",
      "muster/v1/event.proto",
      "muster/v1/job.proto",
    ]);
    expect(names(byMethod)).toEqual(["muster/v1/job_service.proto"]);
    for (const answer of [byMessage, byField, byValue])
      expect(names(answer)).toEqual(["muster/v1/job.proto"]);
    expect(unknown?.messageResponse).toMatchObject({
      case: "errorResponse",
      value: { errorCode: 5, errorMessage: "There is no symbol muster.v1.Nothing here" },
    });
    expect(unknown?.validHost).toBe("h");
  });

  test("is told by reflection that there are no extensions", async () => {
    const { client } = await open({});
    const [numbers, extension, nothing] = await reflect(
      client,
      ServerReflection.method.serverReflectionInfo,
      [
        { messageRequest: { case: "allExtensionNumbersOfType", value: "muster.v1.JobSpec" } },
        {
          messageRequest: {
            case: "fileContainingExtension",
            value: { containingType: "muster.v1.JobSpec", extensionNumber: 1 },
          },
        },
        {},
      ],
    );
    expect(numbers?.messageResponse).toMatchObject({
      case: "allExtensionNumbersResponse",
      value: { extensionNumber: [] },
    });
    expect(extension?.messageResponse).toMatchObject({ case: "errorResponse", value: { errorCode: 5 } });
    expect(nothing?.messageResponse).toMatchObject({ case: "errorResponse", value: { errorCode: 3 } });
  });

  test("needs a key for reflection when it is for the authenticated", async () => {
    const { client } = await open({ reflection: "authenticated" });
    const error = await failure(
      reflect(client, ServerReflection.method.serverReflectionInfo, [
        { messageRequest: { case: "listServices", value: "" } },
      ]),
    );
    expect(error.code).toBe(16);
    expect(detailText(error)).toContain("KEY_INVALID");
  });

  test("calls with a key, and finds its request id in the headers", async () => {
    const { client } = await open({});
    const { getStatus } = StatusService.method;
    const made = call(client, getStatus, {}, withKey({ "x-request-id": "abc" }));
    expect((await made).status?.org).toBe("acme");
    expect((await made.headers).get("x-request-id")).toEqual(["abc"]);
    const error = await failure(call(client, getStatus, {}, new Metadata()));
    expect(error.code).toBe(16);
    expect(detailText(error)).toContain("KEY_INVALID");
  });

  test("finds the detail of an error in the trailers, of a call and of a stream that has begun", async () => {
    const { client } = await open({
      status: {
        getStatus() {
          throw notFound("ORG_NOT_FOUND", "org_x");
        },
        async *watchStatus() {
          yield { status: { org: "acme" } };
          throw new Error("secret");
        },
      },
    });
    const error = await failure(call(client, StatusService.method.getStatus, {}));
    expect([error.code, error.details]).toEqual([5, "There is no such org: org_x"]);
    expect(detailText(error)).toContain("ORG_NOT_FOUND");
    const stream = streaming(client, StatusService.method.watchStatus, {});
    expect((await next(stream)).status?.org).toBe("acme");
    const broken = await failure(next(stream));
    expect(broken.code).toBe(13);
    expect(broken.details).not.toContain("secret");
    expect(detailText(broken)).toContain("INTERNAL");
  });

  test("ends the method by cancelling", async () => {
    const ended = Promise.withResolvers<void>();
    const { client } = await open({
      status: {
        async *watchStatus(_request, { signal }) {
          yield { status: { org: "acme" } };
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
          ended.resolve();
        },
      },
    });
    const stream = streaming(client, StatusService.method.watchStatus, {});
    await next(stream);
    stream.on("error", () => {}).cancel();
    await ended.promise;
  });

  test("gets a stream that is faster than it reads, whole and in order", async () => {
    const { client } = await open({
      status: {
        async *watchStatus() {
          for (let index = 0; index < 2_000; index++) yield { status: { org: `${index}`.padEnd(500) } };
        },
      },
    });
    const stream = streaming(client, StatusService.method.watchStatus, {});
    let expected = 0;
    for await (const message of stream as AsyncIterable<GetStatusResponse>) {
      expect(message.status?.org.trim()).toBe(`${expected++}`);
    }
    expect(expected).toBe(2_000);
  });

  test("is told what is wrong with a message that cannot be read", async () => {
    const { client } = await open({});
    const { path } = wired(StatusService.method.getStatus);
    const sent = (bytes: Buffer) =>
      failure(
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(
            path,
            () => bytes,
            (answer) => answer,
            {},
            withKey(),
            (error, value) => (error === null ? resolve(value) : reject(error)),
          );
        }),
      );
    const undecoded = await sent(Buffer.from([0x0a, 0xff]));
    expect(undecoded.code).toBe(3);
    expect(detailText(undecoded)).toContain("VALIDATION_FAILED");
  });
});
