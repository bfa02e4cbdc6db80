import type { Clock } from "../clock.ts";
import { defaultApiAddress, defaultApiPort, defaultWorkerPort, parseAddress } from "./address.ts";
import { autoTransport, firstThatOpens } from "./auto.ts";
import { pollTransport } from "./poll.ts";
import { streamTransport } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** Which transport a worker uses. */
export type TransportChoice = "auto" | "stream" | "poll";

/** What a worker was told about its way to the coordinator; plain data. */
export interface TransportOptions {
  /** Host and port of either listener. */
  readonly address: string;
  /** Where the twins are tried last. Absent: the same host, port 7070. */
  readonly apiAddress: string | undefined;
  readonly key: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly ca: string | undefined;
  readonly choice: TransportChoice;
  /** How long a Welcome may take. */
  readonly welcomeTimeoutMs: number;
}

/** The transport of the given choice. `poll` and the second part of `auto`: gRPC there, then Connect at the API. */
export function chooseTransport(options: TransportOptions, clock: Clock): Transport {
  const { address, key, ca, welcomeTimeoutMs } = options;
  const stream = streamTransport({ address, key, ca, welcomeTimeoutMs, clock });
  const api =
    options.apiAddress === undefined
      ? defaultApiAddress(parseAddress(address, defaultWorkerPort))
      : parseAddress(options.apiAddress, defaultApiPort);
  const twins = [
    pollTransport({ address, key, ca, protocol: "grpc", clock }),
    pollTransport({ address: api.url, key, ca, protocol: "connect", clock }),
  ];
  switch (options.choice) {
    case "stream":
      return stream;
    case "poll":
      return firstThatOpens(twins);
    case "auto":
      return autoTransport(stream, firstThatOpens(twins));
  }
}
