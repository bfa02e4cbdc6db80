import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { ChannelCredentials, Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import { viewOf } from "../text.ts";
import type { Address } from "./address.ts";
import { maxMessageBytes } from "./transport.ts";

/** Who calls, and how to know the server. */
export interface GrpcCredentials {
  /** The worker's key. */
  readonly key: string;
  /** PEM of the authority that signed the server's certificate. Absent: those of Node. */
  readonly ca: string | undefined;
  /** PEM of a certificate to show to the server, and of its private key. Absent: none is shown. */
  readonly certificate?: { readonly cert: string; readonly key: string } | undefined;
}

/** One unary call. Rejects with a ConnectError, whatever carries it. */
export type UnaryCall = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
) => Promise<MessageShape<O>>;

/** A channel of its own to one address; connects at the first call. To be closed by who opened it. */
export function openChannel(address: Address, credentials: GrpcCredentials): Client {
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  const { ca, certificate } = credentials;
  const channelCredentials = address.isTls
    ? ChannelCredentials.createSsl(pem(ca), pem(certificate?.key), pem(certificate?.cert))
    : ChannelCredentials.createInsecure();
  return new Client(address.target, channelCredentials, {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    // A retry by the library would repeat a Hello behind the engine's back.
    "grpc.enable_retries": 0,
  });
}

/** The metadata of every call. */
export function authorization(key: string): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${key}`);
  return metadata;
}

/** Unary calls over a channel. */
export function grpcUnary(channel: Client, key: string): UnaryCall {
  return (method, request, { signal, timeoutMs }) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new ConnectError("the call was given up", Code.Canceled));
        return;
      }
      const call = channel.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        serializer(method.input),
        deserializer(method.output),
        create(method.input, request),
        authorization(key),
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          signal.removeEventListener("abort", cancel);
          if (error !== null) reject(connectErrorOf(error));
          else if (response === undefined) reject(new ConnectError("no response came", Code.Internal));
          else resolve(response);
        },
      );
      const cancel = () => call.cancel();
      signal.addEventListener("abort", cancel, { once: true });
    });
}

/** What grpc-js takes to write a message. */
export function serializer<T extends DescMessage>(schema: T): (message: MessageShape<T>) => Buffer {
  return (message) => viewOf(toBinary(schema, message));
}

/** What grpc-js takes to read a message. */
export function deserializer<T extends DescMessage>(schema: T): (bytes: Buffer) => MessageShape<T> {
  return (bytes) => fromBinary(schema, bytes);
}

/** An error of grpc-js as a ConnectError, with the details that came in the trailers. */
export function connectErrorOf(error: ServiceError): ConnectError {
  const headers = new Headers({
    "grpc-status": String(error.code),
    "grpc-message": encodeURIComponent(error.details.toWellFormed()),
  });
  const details = error.metadata?.get("grpc-status-details-bin")[0];
  if (details instanceof Buffer) headers.set("grpc-status-details-bin", details.toString("base64"));
  return (
    findTrailerError(headers) ?? new ConnectError(error.details, Code.Unknown, undefined, undefined, error)
  );
}
