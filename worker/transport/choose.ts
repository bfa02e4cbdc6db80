import type { Clock } from "../clock.ts";
import {
  type Address,
  defaultApiAddress,
  defaultApiPort,
  defaultWorkerPort,
  parseAddress,
  parseAddresses,
} from "./address.ts";
import { autoTransport } from "./auto.ts";
import { type Fallback, MainRecord, withFallback } from "./fallback.ts";
import type { GrpcCredentials } from "./grpc.ts";
import { pollTransport } from "./poll.ts";
import { rotatingTransport } from "./rotate.ts";
import { streamTransport } from "./stream.ts";
import type { Transport } from "./transport.ts";

/** Which transport a worker uses. */
export type TransportChoice = "auto" | "stream" | "poll";

/** What a worker was told about its way to the coordinator; plain data. */
export interface TransportOptions {
  /** Host and port of either listener; of several coordinators with commas between them. */
  readonly address: string;
  /**
   * Where the twins are tried when calls do not pass at `address`. Absent: where the last Welcome says that the
   * API is; before the first, the same host and port 7070 beside a port 7071, and nowhere else otherwise.
   */
  readonly apiAddress: string | undefined;
  readonly key: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly ca: string | undefined;
  /** PEM of a certificate to show to the server, and of its private key. */
  readonly certificate?: GrpcCredentials["certificate"];
  readonly choice: TransportChoice;
  /** How long a Welcome may take. */
  readonly welcomeTimeoutMs: number;
}

/** The transport of the given choice, to each address in turn where there are several. */
export function chooseTransport(options: TransportOptions, clock: Clock): Transport {
  const [first, ...others] = parseAddresses(options.address, defaultWorkerPort);
  const transportTo = ({ url }: Address) => oneTransport({ ...options, address: url }, clock);
  if (others.length === 0) return oneTransport(options, clock);
  return rotatingTransport([transportTo(first), ...others.map(transportTo)]);
}

/**
 * The transport of the given choice. `poll` and the second part of `auto`: gRPC there, then Connect: at the same
 * address when no other is known, else at the API, as `withFallback` allows.
 */
function oneTransport(options: TransportOptions, clock: Clock): Transport {
  const { address, key, ca, certificate, welcomeTimeoutMs } = options;
  const credentials: GrpcCredentials = { key, ca, certificate };
  const record = new MainRecord();
  const main = parseAddress(address, defaultWorkerPort);
  const stream = record.watch(streamTransport({ address, ...credentials, welcomeTimeoutMs, clock }));
  const fallback = (): Fallback => {
    const named = options.apiAddress ?? record.apiAddressFor(address);
    const api = named === undefined ? defaultApiAddress(main) : parseAddress(named, defaultApiPort);
    const transport = pollTransport({ address: api.url, ...credentials, protocol: "connect", clock });
    return { address: api.target, isSame: api.target === main.target, transport };
  };
  const twins = record.watch(pollTransport({ address, ...credentials, protocol: "grpc", clock }));
  const polling = withFallback(twins, fallback, record);
  switch (options.choice) {
    case "stream":
      return stream;
    case "poll":
      return polling;
    case "auto":
      return autoTransport(stream, polling);
  }
}
