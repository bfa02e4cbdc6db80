import { lookup as resolveName } from "node:dns/promises";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { type AllowedHosts, allowedHosts, checkUrl, isInRanges, refusalOf } from "./outbound-address.ts";

/** A call to an address that a user gave. */
export interface OutboundRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
  /** For all of it: the name, the connection, the answer. */
  readonly timeoutMs: number;
  /** A longer answer is a failure. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** What was answered, whatever its status: a redirect is an answer too, and is never followed. */
export interface OutboundResponse {
  readonly status: number;
  /** In lower case; a header that came several times is joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Who calls addresses that users gave. */
export interface OutboundHttp {
  /** Throws `OutboundError`: WEBHOOK_BLOCKED before anything is sent, OUTBOUND_FAILED if no answer came. */
  request(request: OutboundRequest): Promise<OutboundResponse>;
  /**
   * Throws WEBHOOK_BLOCKED for what `request` would refuse now, without connecting. A name that cannot be resolved
   * at the moment is no reason: it is looked at again at each call.
   */
  check(url: string, signal: AbortSignal): Promise<void>;
}

/** An address of a host, as a resolver gives it. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** What a client for addresses of users may be built of. */
export interface OutboundOptions {
  /** Hosts, addresses and CIDRs that may be called though they are not public, and without TLS. */
  readonly allow: readonly string[];
  /** Asks for the addresses of a name. Default: the resolver of the machine. */
  readonly resolve?: (name: string) => Promise<readonly ResolvedAddress[]>;
  /** Hears of each refusal: the host, and why. */
  readonly blocked?: (host: string, why: string) => void;
}

/** A call that was refused or came to nothing. Says nothing of what the other side answered. */
export class OutboundError extends Error {
  override readonly name = "OutboundError";
  readonly reason: "WEBHOOK_BLOCKED" | "OUTBOUND_FAILED";
  readonly suggestion: string;

  constructor(reason: OutboundError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.suggestion =
      reason === "WEBHOOK_BLOCKED"
        ? "Give an https URL of a public host, or let the operator allow the host by MUSTER_OUTBOUND_ALLOW."
        : "Check that the host answers, and try again.";
  }
}

/**
 * A client that calls only public addresses, by https, and connects to the very address that it has checked: between
 * the check and the connection no resolver is asked again. If any address of a name is not public, the name is refused.
 */
export function outboundHttp(options: OutboundOptions): OutboundHttp {
  const allowed = allowedHosts(options.allow);
  if (allowed === null) throw new Error("an entry of the allowed hosts is neither a host nor a range");
  const refuse = (host: string, why: string): OutboundError => {
    options.blocked?.(host, why);
    return new OutboundError("WEBHOOK_BLOCKED", `the address ${why}`);
  };
  const resolve = options.resolve ?? ((name) => resolveName(name, { all: true, order: "verbatim" }));
  return {
    async request(request) {
      const deadline = AbortSignal.any([request.signal, AbortSignal.timeout(request.timeoutMs)]);
      const target = checkUrl(request.url, allowed);
      if ("refusal" in target) throw refuse(hostOf(request.url), target.refusal);
      const addresses = await addressesOf(target.host, resolve, deadline, request.signal);
      const why = target.isAllowedName ? null : refusalOfAll(addresses, target.url, allowed);
      if (why !== null) throw refuse(target.host, why);
      return send(target.url, addresses, request, deadline);
    },
    async check(text, signal) {
      const target = checkUrl(text, allowed);
      if ("refusal" in target) throw refuse(hostOf(text), target.refusal);
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(checkTimeoutMs)]);
      const addresses = await addressesOf(target.host, resolve, deadline, signal).catch((error: unknown) => {
        if (error instanceof OutboundError) return [];
        throw error;
      });
      const why = target.isAllowedName ? null : refusalOfAll(addresses, target.url, allowed);
      if (why !== null) throw refuse(target.host, why);
    },
  };
}

/** How long a check waits for the resolver. */
const checkTimeoutMs = 3_000;

function refusalOfAll(addresses: readonly ResolvedAddress[], url: URL, allowed: AllowedHosts): string | null {
  for (const { address } of addresses) {
    const refusal = refusalOf(address, allowed);
    if (refusal !== null) return refusal;
  }
  const isPlain = url.protocol === "http:";
  const isAllowed = addresses.length > 0 && addresses.every(({ address }) => isInRanges(address, allowed));
  return isPlain && !isAllowed ? "is not an https URL" : null;
}

async function addressesOf(
  host: string,
  resolve: (name: string) => Promise<readonly ResolvedAddress[]>,
  deadline: AbortSignal,
  signal: AbortSignal,
): Promise<readonly ResolvedAddress[]> {
  if (/^\d+(\.\d+){3}$/.test(host)) return [{ address: host, family: 4 }];
  if (host.includes(":")) return [{ address: host, family: 6 }];
  const ended = endOf(deadline);
  try {
    const addresses = await Promise.race([resolve(host), ended.promise]);
    if (addresses.length > 0) return addresses;
  } catch (error) {
    signal.throwIfAborted();
    throw new OutboundError("OUTBOUND_FAILED", "the host cannot be resolved", { cause: error });
  } finally {
    ended.forget();
  }
  throw new OutboundError("OUTBOUND_FAILED", "the host has no address");
}

function endOf(signal: AbortSignal): { readonly promise: Promise<never>; readonly forget: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () => reject(signal.reason);
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  promise.catch(() => {});
  return { promise, forget: () => signal.removeEventListener("abort", end) };
}

function send(
  url: URL,
  addresses: readonly ResolvedAddress[],
  { method, headers, body, maxBytes, signal }: OutboundRequest,
  deadline: AbortSignal,
): Promise<OutboundResponse> {
  // The name goes into the Host header and the certificate's check; the connection goes where this says.
  const lookup: LookupFunction = (_name, options, answer) => {
    const [first] = addresses;
    if (options.all) answer(null, [...addresses]);
    else answer(null, first?.address ?? "", first?.family ?? 4);
  };
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) => {
      const why = deadline.aborted ? "gave no answer in time" : failureOf(cause);
      reject(signal.aborted ? signal.reason : new OutboundError("OUTBOUND_FAILED", `the host ${why}`));
    };
    try {
      const start = url.protocol === "https:" ? requestHttps : requestHttp;
      const length = { "content-length": String(Buffer.byteLength(body)) };
      const hasBody = method !== "GET" && method !== "HEAD";
      const sent = start(url, {
        method,
        headers: {
          "user-agent": "muster",
          "accept-encoding": "identity",
          ...headers,
          ...(hasBody ? length : {}),
        },
        lookup,
        agent: false,
        signal: deadline,
      });
      sent.on("error", fail);
      sent.on("response", (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size <= maxBytes) return void chunks.push(chunk);
          // At once: what has been read already may end the answer before its destruction is told.
          fail(new Error(tooLong));
          sent.destroy();
        });
        response.on("error", fail);
        response.on("end", () => {
          const flat = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(flat),
            body: Buffer.concat(chunks),
          });
        });
      });
      sent.end(hasBody ? body : undefined);
    } catch (error) {
      fail(error);
    }
  });
}

const tooLong = "answered with more than is read";

// Codes alone: the text of a TLS error holds names of the other side's certificate.
function failureOf(cause: unknown): string {
  if (cause instanceof Error && cause.message === tooLong) return tooLong;
  const code = typeof cause === "object" && cause !== null ? Reflect.get(cause, "code") : undefined;
  return typeof code === "string" ? `could not be called (${code})` : "could not be called";
}

function hostOf(text: string): string {
  return URL.parse(text)?.hostname.slice(0, 253) ?? "";
}
