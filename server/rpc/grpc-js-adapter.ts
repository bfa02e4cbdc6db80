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
  ResponderBuilder,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { encodeStatus } from "@muster/client/errors";
import type { Log } from "../domain/context.ts";
import { logFailure, type Status, toStatus } from "./errors.ts";
import type { CallGate } from "./gate.ts";
import { requestIdHeader, requestIdKey, settleRequestId } from "./request-id.ts";

/** What every call on the grpc-js listener runs with. */
export interface GrpcJsParts {
  readonly gate: CallGate;
  readonly log: Log;
  /** Aborted when the coordinator stops, with the error that calls end with. */
  readonly shutdownSignal: AbortSignal;
}

/**
 * The handlers of a service for `Server.addService`, beside `grpcJsDefinition`, from the same implementation that
 * connect-es serves: unary, server streaming and bidirectional, with the same gate and the same errors.
 */
export function grpcJsHandlers<T extends DescService>(
  service: T,
  implementation: ServiceImpl<T>,
  parts: GrpcJsParts,
): UntypedServiceImplementation {
  return Object.fromEntries(
    service.methods.map((method) => [method.localName, handlerOf(method, implementation, parts)]),
  );
}

/** The trailers of an error on grpc-js: the bytes of its `google.rpc.Status`. */
export function statusTrailers(status: Status): Metadata {
  const trailers = new Metadata();
  const bytes = encodeStatus(status.code, status.message, status.detail);
  trailers.set("grpc-status-details-bin", Buffer.from(bytes));
  return trailers;
}

/**
 * Explains what grpc-js itself answers on methods that exist: a message that cannot be decoded or is too large, a
 * deadline that passed. Goes into the options of the server: `interceptors: [explainingInterceptor]`.
 */
export const explainingInterceptor: ServerInterceptor = (_method, call) => {
  let requestId = "";
  const listener = new ServerListenerBuilder()
    .withOnReceiveMetadata((metadata, next) => {
      requestId = settleRequestId(metadata.get(requestIdHeader)[0]?.toString());
      metadata.set(requestIdHeader, requestId);
      next(metadata);
    })
    .build();
  const responder = new ResponderBuilder()
    .withStart((next) => next(listener))
    .withSendStatus((status, next) => next(explained(status, requestId)))
    .build();
  return new ServerInterceptingCall(call, responder);
};

type UnaryCall = ServerUnaryCall<Message, Message>;
type StreamCall = ServerWritableStream<Message, Message> | ServerDuplexStream<Message, Message>;
type Init = MessageInitShape<DescMessage>;
type PartialStatus = Parameters<Parameters<ResponderBuilder["withSendStatus"]>[0]>[0];

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
          return create(method.output, await run(call.request, context));
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
          run(call.request, context),
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

function admitted(method: DescMethod, path: string, call: UnaryCall | StreamCall, { log, shutdownSignal }: GrpcJsParts): AdmittedCall {
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

async function admit(call: UnaryCall | StreamCall, context: AdmittedCall["context"], { gate }: GrpcJsParts): Promise<void> {
  try {
    await gate(context);
  } finally {
    const headers = new Metadata();
    context.responseHeader.forEach((value, name) => headers.set(name, value));
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
      if (!call.write(create(output, message))) await drained(call, signal);
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
    for await (const message of call.iterator({ destroyOnReturn: false })) yield message;
  } catch (error) {
    if (!signal.aborted && !call.cancelled) throw error;
  }
}

function drained(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
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

// The texts are those of grpc-js 1.14; the code alone does not say enough.
function explained(status: PartialStatus, requestId: string): PartialStatus {
  const { code = 2, details = "", metadata } = status;
  if (code === 0 || (metadata && metadata.get("grpc-status-details-bin").length > 0)) return status;
  const size = /^Received message larger than max \((\d+) vs\.? (\d+)\)/.exec(details);
  const undecoded = /^Error deserializing request:? ?(.*)$/s.exec(details);
  const text =
    size !== null
      ? `message size ${size[1]} is larger than configured readMaxBytes ${size[2]}`
      : undecoded !== null
        ? `parse binary: ${undecoded[1]}`
        : details;
  const known = toStatus(new ConnectError(text, codeOf(code)), requestId);
  const number: number = known.code;
  return { code: number, details: known.message, metadata: statusTrailers(known) };
}

// The numbers of both are those of gRPC.
function codeOf(code: number): Code {
  return code;
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
