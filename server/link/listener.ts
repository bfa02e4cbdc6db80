import { isMessage } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { ConnectResponseSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import { addGrpcJsService, type GrpcJsCodecs, type GrpcJsParts } from "../rpc/grpc-js-adapter.ts";
import { type HealthState, healthService } from "../rpc/health.ts";
import { ListenError } from "../rpc/listener.ts";
import { type ReflectedSchema, reflectionAlphaService, reflectionService } from "../rpc/reflection.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { FrameEncoder } from "./frame-encoder.ts";

const maxMessageBytes = 4 * 1024 * 1024;

/** What the worker listener serves. */
export interface WorkerListenerOptions extends GrpcJsParts {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly ca?: Buffer } | undefined;
  readonly worker: ServiceImpl<typeof WorkerService>;
  readonly health: HealthState;
  /** Absent: reflection is off. */
  readonly schema: ReflectedSchema | null;
}

/** A listener at work. */
export interface WorkerListener {
  readonly port: number;
  /** `127.0.0.1:7071`: where it listens. */
  readonly address: string;
  /** Takes no more connections, lets calls end for `graceMs`, then closes them. */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

/** Opens the worker listener: grpc-js, the fastest server of long streams here. Rejects with ListenError. */
export async function startWorkerListener(options: WorkerListenerOptions): Promise<WorkerListener> {
  const { host, tls } = options;
  const server = new Server({
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc-node.max_session_memory": 16,
  });
  addGrpcJsService(server, WorkerService, options.worker, options, { connect: linkCodec() });
  addGrpcJsService(server, Health, healthService(options.health), options);
  if (options.schema) {
    const [now, alpha] = [reflectionService(options.schema), reflectionAlphaService(options.schema)];
    addGrpcJsService(server, ServerReflection, now, options);
    addGrpcJsService(server, ServerReflectionAlpha, alpha, options);
  }
  const credentials = tls
    ? ServerCredentials.createSsl(
        tls.ca ?? null,
        [{ cert_chain: tls.cert, private_key: tls.key }],
        Boolean(tls.ca),
      )
    : ServerCredentials.createInsecure();
  const name = host.includes(":") ? `[${host}]` : host;
  const port = await bind(server, name, options.port, credentials);
  return {
    port,
    address: `${name}:${port}`,
    async stop({ graceMs }) {
      const timer = setTimeout(() => server.forceShutdown(), graceMs);
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      clearTimeout(timer);
      server.forceShutdown();
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

function bind(server: Server, host: string, port: number, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
      if (!error) return resolve(bound);
      const isTaken = error.message.includes("EADDRINUSE");
      reject(
        new ListenError(
          isTaken ? "PORT_IN_USE" : "LISTEN_FAILED",
          isTaken
            ? `Port ${port} on ${host} is in use`
            : `The worker listener cannot be opened on ${host}:${port}`,
          isTaken
            ? "Choose another one with --worker-port (0 takes a free one), or stop what listens there."
            : "Check --worker-host and --worker-port.",
          error,
        ),
      );
    });
  });
}
