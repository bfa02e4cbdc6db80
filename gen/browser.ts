import type { DescService } from "@bufbuild/protobuf";
import type { Client, Interceptor, Transport } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";

/** How to reach a coordinator from a browser. */
export interface BrowserTransportOptions {
  /** URL of the API listener. Its `--cors-origins` must name the page's origin. */
  readonly address: string;
  /** Called before each call for the key or token to send. */
  readonly key?: () => string | Promise<string>;
  /** Wire protocol. Default `connect`. */
  readonly protocol?: "connect" | "grpc-web";
  /** Further interceptors, outermost first. */
  readonly interceptors?: readonly Interceptor[];
}

/** Makes a transport over `fetch` for any service of `@muster/client/v1/*`. */
export function createMusterTransport(options: BrowserTransportOptions): Transport {
  const common = {
    baseUrl: options.address.replace(/\/+$/, ""),
    interceptors: [...(options.interceptors ?? []), ...authorization(options.key)],
  };
  return options.protocol === "grpc-web" ? createGrpcWebTransport(common) : createConnectTransport(common);
}

/** Makes a client of one service: `createMusterClient(JobService, { address, key })`. */
export function createMusterClient<T extends DescService>(
  service: T,
  options: BrowserTransportOptions,
): Client<T> {
  return createClient(service, createMusterTransport(options));
}

function authorization(key: BrowserTransportOptions["key"]): Interceptor[] {
  if (key === undefined) return [];
  return [
    (next) => async (request) => {
      request.header.set("authorization", `Bearer ${await key()}`);
      return next(request);
    },
  ];
}
