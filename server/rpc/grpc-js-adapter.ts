import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, createHandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { encodeStatus } from "@muster/client/errors";
import { type GrpcJsMethod, grpcJsDefinition } from "@muster/client/grpc-js";
import type { Log } from "../domain/context.ts";
import { DomainError } from "../domain/errors.ts";
import { addressKey } from "./auth.ts";
import { logFailure, type Status, toStatus } from "./errors.ts";
import { type CallGate, refusedTimeout } from "./gate.ts";
import { misreadTimeout } from "./grpc-js-faults.ts";
import { requestIdKey } from "./request-id.ts";
import { unreadMs } from "./unread.ts";

/** What every call on the grpc-js listener runs with. */
export interface GrpcJsParts {
  readonly gate: CallGate;
  readonly log: Log;
  /** Aborted when the coordinator stops, with the error that calls end with. */
  readonly shutdownSignal: AbortSignal;
  /** How long a caller may leave a part of its response unread. Default 30 s. */
  readonly unreadMs?: number;
  /** Called when a response was cut off for that. */
  readonly cutOff?: () => void;
}

/** How messages of methods are read and written, where it is not by the generated codec. */
export type GrpcJsCodecs = Readonly<
  Record<string, Partial<Pick<GrpcJsMethod, "requestDeserialize" | "responseSerialize">>>
>;

/**
 * Serves on grpc-js the same implementation that connect-es serves: unary, server streaming and bidirectional
 * methods, with the same gate and the same errors. What grpc-js refuses by itself (a message above the limit, a
 * method that does not exist) has its code and text, and no detail.
 *
 * @param codecs what stands in for the generated codec, by the local names of methods.
 */
export function addGrpcJsService<T extends DescService>(
  server: Pick<Server, "addService">,
  service: T,
  implementation: ServiceImpl<T>,
  parts: GrpcJsParts,
  codecs: GrpcJsCodecs = {},
): void {
  const definition = Object.entries(grpcJsDefinition(service)).map(([name, one]) => [
    name,
    decodable({ ...one, ...codecs[name] }),
  ]);
  const handlers = service.methods.map((one) => [one.localName, handlerOf(one, implementation, parts)]);
  server.addService(Object.fromEntries(definition), Object.fromEntries(handlers));
}

/** The trailers of an error on grpc-js: the bytes of its `google.rpc.Status`. */
export function statusTrailers(status: Status): Metadata {
  const trailers = new Metadata();
  const bytes = encodeStatus(status.code, status.message, status.detail);
  trailers.set("grpc-status-details-bin", Buffer.from(bytes));
  return trailers;
}

type UnaryCall = ServerUnaryCall<Message, Message>;
type StreamCall = ServerWritableStream<Message, Message> | ServerDuplexStream<Message, Message>;
type Init = MessageInitShape<DescMessage>;

interface AdmittedCall {
  readonly context: ReturnType<typeof createHandlerContext>;
  readonly failed: (error: unknown) => Error & { code: number; details: string; metadata: Metadata };
}

function handlerOf<T extends DescService>(
  method: DescMethod,
  implementation: ServiceImpl<T>,
  parts: GrpcJsParts,
): UntypedServiceImplementation[string] {
  const path = `/${method.parent.typeName}/${method.name}`;
  switch (method.methodKind) {
    case "unary": {
      const run = implementationOf(implementation, method, isUnary);
      const unary: handleUnaryCall<Message, Message> = (call, callback) => {
        const { context, failed } = admitted(method, path, call, parts);
        const answer = async (): Promise<Message> => {
          await admit(call, context, parts);
          return create(method.output, await run(decoded(call.request), context));
        };
        answer()
          .then(
            (message) => callback(null, message),
            (error: unknown) => callback(failed(error)),
          )
          .finally(() => context.abort());
      };
      return unary;
    }
    case "server_streaming": {
      const run = implementationOf(implementation, method, isStreaming);
      const streaming: handleServerStreamingCall<Message, Message> = (call) => {
        stream(call, method.output, parts, admitted(method, path, call, parts), (context) =>
          run(decoded(call.request), context),
        );
      };
      return streaming;
    }
    case "bidi_streaming": {
      const run = implementationOf(implementation, method, isStreaming);
      const bidi: handleBidiStreamingCall<Message, Message> = (call) => {
        stream(call, method.output, parts, admitted(method, path, call, parts), (context) =>
          run(incoming(call, context.signal), context),
        );
      };
      return bidi;
    }
    case "client_streaming":
      throw new TypeError(`${path}: client streaming is not part of this API`);
  }
}

function admitted(
  method: DescMethod,
  path: string,
  call: UnaryCall | StreamCall,
  { log, shutdownSignal }: GrpcJsParts,
): AdmittedCall {
  const gone = new AbortController();
  const events: NodeJS.EventEmitter = call;
  events.once("cancelled", () => gone.abort(new ConnectError("the call was cancelled", Code.Canceled)));
  const requestHeader = new Headers();
  for (const [name, value] of Object.entries(call.metadata.getMap())) {
    if (typeof value === "string") requestHeader.set(name, value);
  }
  const context = createHandlerContext({
    service: method.parent,
    method,
    protocolName: "grpc",
    requestMethod: "POST",
    url: `http://${call.getHost()}${path}`,
    requestHeader,
    requestSignal: gone.signal,
    shutdownSignal,
  });
  context.values.set(addressKey, call.getPeer().replace(/:\d+$/, ""));
  return {
    context,
    failed(error) {
      const status = toStatus(error, context.values.get(requestIdKey));
      logFailure(log, error, status, path.slice(1));
      const { code, message: details } = status;
      return Object.assign(new Error(details), { code, details, metadata: statusTrailers(status) });
    },
  };
}

async function admit(
  call: UnaryCall | StreamCall,
  context: AdmittedCall["context"],
  { gate }: GrpcJsParts,
): Promise<void> {
  try {
    const misread = context.requestHeader.get(misreadTimeout);
    if (misread !== null) throw refusedTimeout(`The timeout of the call cannot be kept: ${misread}`);
    await gate(context);
  } finally {
    const headers = new Metadata();
    for (const [name, value] of context.responseHeader) headers.set(name, value);
    call.sendMetadata(headers);
  }
}

function stream(
  call: StreamCall,
  output: DescMessage,
  parts: GrpcJsParts,
  { context, failed }: AdmittedCall,
  run: (context: AdmittedCall["context"]) => AsyncIterable<Init>,
): void {
  const { signal } = context;
  const pump = async (): Promise<void> => {
    await admit(call, context, parts);
    for await (const message of run(context)) {
      if (call.cancelled) return;
      // What grpc-js holds beyond this is bounded: 16 messages a stream.
      if (!call.write(create(output, message))) await drained(call, signal, parts);
    }
    if (!call.cancelled) call.end();
  };
  pump()
    .catch((error: unknown) => {
      if (!call.cancelled) call.emit("error", failed(error));
    })
    .finally(() => context.abort());
}

// Ends quietly when the caller has gone: what is read then is of no use to anybody.
async function* incoming(
  call: ServerDuplexStream<Message, Message>,
  signal: AbortSignal,
): AsyncIterable<Message> {
  try {
    for await (const message of call.iterator({ destroyOnReturn: false })) yield decoded(message);
  } catch (error) {
    if (!signal.aborted && !call.cancelled) throw error;
  }
}

function drained(call: NodeJS.EventEmitter, signal: AbortSignal, parts: GrpcJsParts): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      parts.cutOff?.();
      reject(new DomainError("OVERLOADED", { message: "The response was not read", retryAfterMs: 1_000 }));
      done();
    }, parts.unreadMs ?? unreadMs);
    const done = (): void => {
      clearTimeout(timer);
      for (const event of events) call.off(event, done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const events = ["drain", "cancelled", "close"];
    for (const event of events) call.on(event, done);
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}

// grpc-js answers with INTERNAL and no detail when a deserializer throws, so this one hands the failure on.
function decodable(method: GrpcJsMethod): GrpcJsMethod {
  return {
    ...method,
    requestDeserialize(bytes) {
      try {
        return method.requestDeserialize(bytes);
      } catch (error) {
        return new UndecodedMessage(error);
      }
    },
  };
}

/** Stands for a request that is not of its message. */
class UndecodedMessage implements Message {
  readonly $typeName = "";
  readonly error: ConnectError;

  constructor(cause: unknown) {
    const text = cause instanceof Error ? cause.message : String(cause);
    this.error = new ConnectError(`parse binary: ${text}`, Code.Internal, undefined, undefined, cause);
  }
}

function decoded(message: Message): Message {
  if (message instanceof UndecodedMessage) throw message.error;
  return message;
}

type UnaryRun = (request: Message, context: AdmittedCall["context"]) => Init | Promise<Init>;
type StreamRun = (
  request: Message | AsyncIterable<Message>,
  context: AdmittedCall["context"],
) => AsyncIterable<Init>;

function implementationOf<T extends DescService, Run>(
  implementation: ServiceImpl<T>,
  method: DescMethod,
  isRun: (value: unknown) => value is Run,
): Run {
  const run: unknown = Reflect.get(implementation, method.localName);
  if (!isRun(run)) throw new TypeError(`${method.parent.typeName}/${method.name} has no implementation`);
  return run;
}

// Safe: the value is a member of a ServiceImpl whose method is unary; its types hold it to that shape.
function isUnary(value: unknown): value is UnaryRun {
  return typeof value === "function";
}

// Safe, as above, for a method that streams its answer.
function isStreaming(value: unknown): value is StreamRun {
  return typeof value === "function";
}
