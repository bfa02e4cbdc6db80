import type { Readable } from "node:stream";
import { create, type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
} from "@grpc/grpc-js";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { JobService } from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import { unauthenticated } from "../../server/domain/errors.ts";
import { shuttingDown } from "../../server/rpc/errors.ts";
import { createCallGate } from "../../server/rpc/gate.ts";
import { addGrpcJsService } from "../../server/rpc/grpc-js-adapter.ts";
import { HealthState, healthService } from "../../server/rpc/health.ts";
import { reflectionAlphaService, reflectionService, reflectSchema } from "../../server/rpc/reflection.ts";
import { callerWith, keepingLog, listening, type Stubs } from "./listening.ts";

const closing: (() => Promise<void> | void)[] = [];

/** Closes what was opened since it was called last. */
export async function closeStockClients(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** A server that a stock client is connected to. */
export interface Peer {
  readonly client: Client;
  readonly health: HealthState;
  readonly stop: () => void;
}

/** The API listener of connect-node. */
export async function onConnectNode(stubs: Stubs): Promise<Peer> {
  const listener = await listening(stubs);
  closing.push(() => listener.stop({ graceMs: 0 }));
  const stop = (): void => void listener.stop({ graceMs: 5_000 });
  return { client: dial(listener.port), health: listener.health, stop };
}

/** A server of grpc-js with the same services. */
export async function onGrpcJs(stubs: Stubs): Promise<Peer> {
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

/** Metadata of a call with a key that is good. */
export function withKey(headers: Record<string, string> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries({ authorization: "Bearer good", ...headers }))
    metadata.set(name, value);
  return metadata;
}

/** What a stock client needs to know of a method. */
export function wired(method: DescMethod) {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    serialize: (init: object) => Buffer.from(toBinary(method.input, create(method.input, { ...init }))),
    deserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
  };
}

/** One unary call with the stock client; resolves with the answer, rejects with its error. */
export function call<M extends DescMethod>(client: Client, method: M, init: object, metadata = withKey()) {
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

/** A call that is answered by a stream. */
export function streaming<M extends DescMethod>(client: Client, method: M, init: object) {
  const { path, serialize, deserialize } = wired(method);
  const stream = client.makeServerStreamRequest(path, serialize, deserialize, init, withKey());
  return stream as ClientReadableStream<MessageShape<M["output"]>>;
}

/** The next message of a stream, which then waits; rejects with its error. */
export async function next<Answer>(stream: Readable & { read(): Answer }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    stream.once("data", (message: Answer) => {
      stream.pause();
      resolve(message);
    });
    stream.once("error", reject);
    stream.resume();
  });
}

/** The error of a call; rejects when it succeeded. */
export async function failure(promise: Promise<unknown>): Promise<ServiceError> {
  return promise.then(
    () => {
      throw new TypeError("the call succeeded");
    },
    (error: ServiceError) => error,
  );
}

/** The details of an error as they are in its trailers. */
export function detailText(error: ServiceError): string {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return Buffer.from(bytes ?? "").toString("latin1");
}
