import type { DescService } from "@bufbuild/protobuf";
import type { Client, Interceptor, Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

/** What every message may be at most, in bytes, in both directions. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** How to reach a coordinator from Node. */
export interface NodeTransportOptions {
  /** URL of the API listener, e.g. `http://127.0.0.1:7070`. */
  readonly address: string;
  /** An API key, `mk_api_…`. */
  readonly key?: string;
  /** Wire protocol. Default `connect`. */
  readonly protocol?: "connect" | "grpc" | "grpc-web";
  /** HTTP version for connect and grpc-web. Default `2`; gRPC is always HTTP/2. */
  readonly httpVersion?: "1.1" | "2";
  /** Deadline of each unary call in milliseconds. Default: none. */
  readonly timeoutMs?: number;
  /** Further interceptors, outermost first. */
  readonly interceptors?: readonly Interceptor[];
  /** PEM of the authority that signed the server's certificate. */
  readonly ca?: string;
  /** PEM of a certificate to show to the server, and of its private key. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** Makes a transport for any service of `@muster/client/v1/*`. */
export function createMusterTransport(options: NodeTransportOptions): Transport {
  const common = {
    baseUrl: options.address.replace(/\/+$/, ""),
    interceptors: [...(options.interceptors ?? []), ...authorization(options.key)],
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    // Fields that this client does not know yet are skipped in binary, and an error in JSON.
    useBinaryFormat: true,
    ...(options.timeoutMs === undefined ? {} : { defaultTimeoutMs: options.timeoutMs }),
    ...(options.ca === undefined && options.certificate === undefined
      ? {}
      : { nodeOptions: { ...(options.ca === undefined ? {} : { ca: options.ca }), ...options.certificate } }),
  };
  // One HTTP/2 connection is kept; a ping notices a dead peer also while a quiet stream is open.
  const http2 = { httpVersion: "2" as const, pingIntervalMs: 30_000, pingIdleConnection: true };
  switch (options.protocol ?? "connect") {
    case "grpc":
      return createGrpcTransport({ ...common, pingIntervalMs: 30_000, pingIdleConnection: true });
    case "grpc-web":
      return createGrpcWebTransport(
        options.httpVersion === "1.1" ? { ...common, httpVersion: "1.1" } : { ...common, ...http2 },
      );
    case "connect":
      return createConnectTransport(
        options.httpVersion === "1.1" ? { ...common, httpVersion: "1.1" } : { ...common, ...http2 },
      );
  }
}

/** Makes a client of one service: `createMusterClient(JobService, { address, key })`. */
export function createMusterClient<T extends DescService>(
  service: T,
  options: NodeTransportOptions,
): Client<T> {
  return createClient(service, createMusterTransport(options));
}

function authorization(key: string | undefined): Interceptor[] {
  if (key === undefined || key === "") return [];
  return [
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${key}`);
      return next(request);
    },
  ];
}
