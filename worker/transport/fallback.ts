import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import type { Welcome } from "@muster/client/v1/link";
import { defaultApiPort, defaultWorkerPort, parseAddress } from "./address.ts";
import { isAnswer, isReplaced, refusalOf } from "./refusal.ts";
import type { Link, Transport } from "./transport.ts";

/** Times in a row that the main address lets a worker wait in vain before another address is tried. */
const lateTries = 2;

/** Where else links may be opened. */
export interface Fallback {
  /** For people. */
  readonly address: string;
  /** It is the main address by another protocol: trying it gives the key to nobody new. */
  readonly isSame: boolean;
  readonly transport: Transport;
}

/** Another address refused this worker while its main one gave no answer: no reason to end. */
export class FallbackRefusedError extends ConnectError {
  /** `refusal`: what the other address said; `mainError`: what became of the main one, if it was asked. */
  constructor(address: string, refusal: unknown, mainError?: unknown) {
    const said = refusalOf(refusal)?.detail ?? readError(refusal).message;
    const main = mainError === undefined ? "" : `, and the main one gives no answer: ${messageOf(mainError)}`;
    super(`${address} refused this worker (${said})${main}`, Code.Unavailable);
  }
}

/** What the tries at the main address, and the Welcomes of any, have taught. */
export class MainRecord {
  #lateInARow = 0;
  #apiAddress = "";

  /** No Welcome came in time, again and again. */
  get isLate(): boolean {
    return this.#lateInARow >= lateTries;
  }

  /** The same transport; each try to open it is recorded. */
  watch(main: Transport): Transport {
    return {
      open: async (hello, options) => {
        try {
          const link = await main.open(hello, options);
          this.#lateInARow = 0;
          this.note(link.welcome);
          return link;
        } catch (error) {
          this.#lateInARow = codeOf(error) === Code.DeadlineExceeded ? this.#lateInARow + 1 : 0;
          throw error;
        }
      },
    };
  }

  /** A Welcome came. One that names no API address changes nothing. */
  note({ apiAddress }: Pick<Welcome, "apiAddress">): void {
    if (apiAddress !== "") this.#apiAddress = apiAddress;
  }

  /**
   * Where the last Welcome says the API is. Undefined without one, when it is no address, and when the key
   * would travel there in plain text although the worker at `address` uses TLS.
   */
  apiAddressFor(address: string): string | undefined {
    if (this.#apiAddress === "") return undefined;
    try {
      const { isTls, url } = parseAddress(this.#apiAddress, defaultApiPort);
      return isTls || !parseAddress(address, defaultWorkerPort).isTls ? url : undefined;
    } catch {
      return undefined;
    }
  }
}

/**
 * Opens links at the main address, and at another one only where calls do not pass at the main one: it does not
 * know the service, a proxy answers for it, or it was late twice in a row. A main address that is down is waited
 * for: whoever else listens on that host is not to get the key. What worked last comes first.
 *
 * A refusal at the other address counts as one only when the main one answered in the same round.
 */
export function withFallback(main: Transport, fallback: () => Fallback, record: MainRecord): Transport {
  let isAway = false;
  return {
    async open(hello, options) {
      const { address, transport, ...rest } = fallback();
      // Where a coordinator sent the worker, every transport goes.
      const isSame = rest.isSame || options.address !== undefined;
      const openAway = async () => {
        const link = await transport.open(hello, options);
        isAway = true;
        record.note(link.welcome);
        return isSame ? link : distrusting(link, address);
      };
      let refusal: unknown;
      const isSecond = isAway;
      if (isAway) {
        isAway = false;
        try {
          return await openAway();
        } catch (error) {
          const mayPass = !isSame && isRefusal(error);
          if (options.signal.aborted || (isAnswer(error) && !mayPass)) throw error;
          if (mayPass) refusal = error;
        }
      }
      try {
        return await main.open(hello, options);
      } catch (error) {
        if (isAnswer(error) || options.signal.aborted) throw error;
        if (refusal !== undefined)
          throw isSilent(error) ? new FallbackRefusedError(address, refusal, error) : refusal;
        if (isSecond || !(isSame || passesNothing(error, record))) throw error;
        return await openAway().catch((awayError: unknown) => {
          if (!isSame && isRefusal(awayError) && isSilent(error))
            throw new FallbackRefusedError(address, awayError, error);
          throw isAnswer(awayError) ? awayError : error;
        });
      }
    },
  };
}

/** A link over another address. A refusal on it is no end: who answers there may have changed. */
function distrusting(link: Link, address: string): Link {
  return {
    welcome: link.welcome,
    transport: link.transport,
    improveAfterMs: link.improveAfterMs,
    frames: mapErrors(link.frames, (error) =>
      isRefusal(error) ? new FallbackRefusedError(address, error) : error,
    ),
    send: (frame) => link.send(frame),
    close: (cause) => link.close(cause),
  };
}

async function* mapErrors<T>(items: AsyncIterable<T>, map: (error: unknown) => unknown): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    throw map(error);
  }
}

function passesNothing(error: unknown, record: MainRecord): boolean {
  if (codeOf(error) === Code.Unimplemented || record.isLate) return true;
  // The words of grpc-js; it gives 429, 502, 503 and 504 the code of a connection that was refused.
  return messageOf(error).startsWith("Received HTTP status code");
}

function isSilent(error: unknown): boolean {
  return [Code.Unavailable, Code.DeadlineExceeded, Code.Canceled].includes(codeOf(error));
}

// Only who knows the worker can say that it was replaced.
function isRefusal(error: unknown): boolean {
  return refusalOf(error) !== undefined && !isReplaced(error);
}

function codeOf(error: unknown): Code {
  return readError(error).code;
}

function messageOf(error: unknown): string {
  return readError(error).message;
}
