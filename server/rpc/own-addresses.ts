import { ownMachine } from "../config.ts";
import type { ApiListener } from "./listener.ts";

/** Where a coordinator serves the worker of its own: URLs on this machine, without TLS. */
export interface OwnAddresses {
  readonly address: string;
  readonly apiAddress: string;
}

/**
 * Tells where the coordinator's own worker is served. Beside TLS it has a listener of its own, opened when it is first
 * asked for: no certificate is for this machine's address.
 */
export function serveOwnWorker({
  isTls,
  addresses,
  listen,
  opened,
}: {
  readonly isTls: boolean;
  /** Of the listeners that everybody uses. */
  readonly addresses: OwnAddresses;
  /** Opens one on loopback. It outlives the end of the others, so that the worker gives back what it holds. */
  readonly listen: () => Promise<ApiListener>;
  readonly opened: (listener: ApiListener) => void;
}): () => Promise<OwnAddresses> {
  let own: Promise<ApiListener> | undefined;
  return async () => {
    if (!isTls) {
      return { address: ownMachine(addresses.address), apiAddress: ownMachine(addresses.apiAddress) };
    }
    own ??= listen().then((listener) => {
      opened(listener);
      return listener;
    });
    const { address } = await own;
    return { address, apiAddress: address };
  };
}
