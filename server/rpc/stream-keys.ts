import type { Interceptor } from "@connectrpc/connect";
import type { Caller } from "../domain/context.ts";
import { DomainError, unauthenticated } from "../domain/errors.ts";
import type { LiveStreams } from "../domain/live-streams.ts";
import { type Authenticate, addressKey, bearerToken, callerKey, orgHeader, refuseSuspended } from "./auth.ts";
import { requestIdKey } from "./request-id.ts";
import { accessTo } from "./scopes.ts";

/**
 * Ends a server stream of ours, and a call that waits, with the error of its key once the key was revoked, ran out, or
 * lost its worker: the gate looks at a key when a call begins, and a watch may last for days. Silent ones are ended
 * through `streams`, within 2 s; and no message goes out that a look at the key does not precede. A key that cannot be
 * looked up now stays believed.
 */
export function watchKeys(authenticate: Authenticate, streams: LiveStreams): Interceptor {
  return (next) => async (request) => {
    const { contextValues, method } = request;
    const caller = contextValues.get(callerKey);
    const isWait = method.methodKind === "unary" && /^(Wait|Poll)/.test(method.name);
    if (caller === undefined || (method.methodKind !== "server_streaming" && !isWait)) return next(request);
    const token = bearerToken(request.header.get("authorization"));
    const org = request.header.get(orgHeader)?.trim() ?? "";
    const access = accessTo(method, "authenticated") ?? "any-key";
    const check = async (): Promise<void> => {
      try {
        const now = await authenticate(
          token,
          contextValues.get(requestIdKey),
          contextValues.get(addressKey),
          org,
        );
        refuseSuspended(now, access);
      } catch (error) {
        if (error instanceof DomainError && error.reason !== "RATE_LIMITED") throw error;
      }
    };
    const life = new Life(streams, caller, check);
    if (isWait) return life.of(next(request)).finally(() => life.close());
    const response = await next(request);
    if (response.stream) return { ...response, message: life.messages(response.message) };
    life.close();
    return response;
  };
}

/** How long a call may go on: as long as its key. */
class Life {
  readonly #check: () => Promise<void>;
  readonly #leave: () => void;
  #isOver = false;
  #over: () => void = () => {};

  constructor(streams: LiveStreams, caller: Caller, check: () => Promise<void>) {
    this.#check = check;
    const end = () => {
      this.#isOver = true;
      this.#over();
    };
    this.#leave = streams.open({ caller, end });
  }

  close(): void {
    this.#leave();
  }

  /** What comes, unless the key ends before. */
  async of<Value>(coming: Promise<Value>): Promise<Value> {
    const over = Promise.withResolvers<null>();
    this.#over = () => over.resolve(null);
    if (this.#isOver) this.#over();
    const first = await Promise.race([coming.then((value) => ({ value })), over.promise]);
    if (first !== null) return first.value;
    // What it would have answered is of no interest any more.
    coming.catch(() => {});
    await this.#check();
    throw unauthenticated();
  }

  async *messages<Message>(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
    const iterator = messages[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.of(iterator.next());
        if (next.done) return;
        await this.#check();
        yield next.value;
      }
    } finally {
      this.close();
      // Not awaited: it waits behind a message that may never come.
      void iterator.return?.().catch(() => {});
    }
  }
}
