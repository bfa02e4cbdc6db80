import {
  constants,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type DescMethod, type DescService, isMessage } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { ConnectResponseSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { Addresses } from "../rpc/addresses.ts";
import { expectedOf } from "../rpc/connect-handler.ts";
import { Connections } from "../rpc/connections.ts";
import { createFront } from "../rpc/front.ts";
import { addGrpcJsService, type GrpcJsCodecs, type GrpcJsParts } from "../rpc/grpc-js-adapter.ts";
import { blameSender, setTimeoutAside } from "../rpc/grpc-js-faults.ts";
import { HalfSentWatch, type RequestPace } from "../rpc/half-sent.ts";
import { type HealthState, healthService } from "../rpc/health.ts";
import { type EdgeOptions, frontOptions, listen } from "../rpc/listener.ts";
import { type ReflectedSchema, reflectionAlphaService, reflectionService } from "../rpc/reflection.ts";
import { checkedService } from "../rpc/request-checks.ts";
import { guardSession, http2Limits } from "../rpc/session-guard.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { FrameEncoder } from "./frame-encoder.ts";

const maxMessageBytes = 4 * 1024 * 1024;

/** What the worker listener serves. */
export interface WorkerListenerOptions extends GrpcJsParts, EdgeOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly worker: ServiceImpl<typeof WorkerService>;
  readonly health: HealthState;
  /** Absent: reflection is off. */
  readonly schema: ReflectedSchema | null;
  /** How long requests may take to come in. */
  readonly pace?: RequestPace;
}

/** A listener at work. */
export interface WorkerListener {
  readonly port: number;
  /** `127.0.0.1:7071`: where it listens. */
  readonly address: string;
  /** Takes no more connections, lets calls end for `graceMs`, then closes them. */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

/**
 * Opens the worker listener: grpc-js, the fastest server of long streams here. Rejects with ListenError. grpc-js has
 * no option for most of what the edge bounds, so it never listens: a front of ours hands it its connections, and the
 * server of HTTP/2 inside it is given our limits and watched.
 */
export async function startWorkerListener(options: WorkerListenerOptions): Promise<WorkerListener> {
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
  });
  const services: DescService[] = [WorkerService, Health];
  const worker = checkedService(WorkerService, options.worker);
  addGrpcJsService(server, WorkerService, worker, options, { connect: linkCodec() });
  addGrpcJsService(server, Health, healthService(options.health), options);
  if (options.schema) {
    const [now, alpha] = [reflectionService(options.schema), reflectionAlphaService(options.schema)];
    addGrpcJsService(server, ServerReflection, now, options);
    addGrpcJsService(server, ServerReflectionAlpha, alpha, options);
    services.push(ServerReflection, ServerReflectionAlpha);
  }
  limitHttp2(server);
  const edge = frontOptions(options);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const methods = new Map(services.flatMap((service) => service.methods.map((one) => [pathOf(one), one])));
  watchHttp2(http2Inside(server), methods, edge.addresses, options);
  const connections = new Connections();
  const front = createFront({
    ...edge,
    protocols: ["h2"],
    opened: (socket) => connections.add(socket),
    accept: (socket) => {
      // HTTP/2 has no half-open connections.
      socket.allowHalfOpen = false;
      injector.injectConnection(socket);
    },
  });
  const port = await listen(front, options, "worker");
  const name = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    port,
    address: `${name}:${port}`,
    async stop({ graceMs }) {
      const closed = new Promise<void>((resolve) => front.close(() => resolve()));
      const timer = setTimeout(() => server.forceShutdown(), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(timer);
      server.forceShutdown();
      connections.destroy();
      await closed;
    },
  };
}

function linkCodec(): GrpcJsCodecs[string] {
  const [decoder, encoder] = [new FrameDecoder(), new FrameEncoder()];
  return {
    requestDeserialize: (bytes) => decoder.decode(bytes),
    responseSerialize: (message) => {
      if (!isMessage(message, ConnectResponseSchema)) throw new TypeError(`${message.$typeName} is no frame`);
      return encoder.encode(message);
    },
  };
}

// grpc-js makes its servers of HTTP/2 from these options, which it fills in part; it has no other way to give them.
function limitHttp2(server: Server): void {
  const own: unknown = Reflect.get(server, "commonServerOptions");
  if (typeof own !== "object" || own === null || !("maxSendHeaderBlockLength" in own)) {
    throw new TypeError("grpc-js keeps the options of HTTP/2 elsewhere than this release of it did");
  }
  Object.assign(own, http2Limits);
}

// The server that the injector feeds.
function http2Inside(server: Server): Http2Server {
  const servers: unknown = Reflect.get(server, "http2Servers");
  const [inside]: unknown[] = servers instanceof Map ? [...servers.keys()] : [];
  if (!isHttp2Server(inside)) {
    throw new TypeError("grpc-js keeps its servers of HTTP/2 elsewhere than this release of it did");
  }
  return inside;
}

// Safe: what grpc-js keeps under this name is what node:http2 made for it.
function isHttp2Server(value: unknown): value is Http2Server {
  return typeof value === "object" && value !== null && "updateSettings" in value;
}

function watchHttp2(
  http2: Http2Server,
  methods: ReadonlyMap<string, DescMethod>,
  addresses: Addresses,
  { firstBytesMs = 10_000, turnedAway, pace }: WorkerListenerOptions,
): void {
  http2.on("session", (session: ServerHttp2Session) => {
    guardSession(session, { addresses, firstRequestMs: firstBytesMs, turnedAway });
  });
  http2.prependListener("stream", (_stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    setTimeoutAside(headers);
  });
  http2.on("stream", (stream: ServerHttp2Stream, headers) => {
    blameSender(stream, headers);
    const method = methods.get(headers[":path"] ?? "");
    if (method === undefined) return;
    const late = (): void => {
      turnedAway?.("half-sent");
      stream.close(constants.NGHTTP2_CANCEL);
    };
    const watch = new HalfSentWatch(expectedOf(method), late, pace);
    // grpc-js has paused the stream by now, so this listener takes no more than grpc-js does.
    stream.on("data", (chunk: Buffer) => watch.saw(chunk));
    stream.once("end", () => watch.stop());
    stream.once("close", () => watch.stop());
  });
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
