import type { Port } from "./messages.ts";

/** The part of a MessagePort or worker thread that a port needs. */
export interface MessageChannelEnd {
  postMessage(value: unknown): void;
  on(event: "message", take: (value: unknown) => void): unknown;
}

/** Messages of one turn that travel together. */
const maxWaiting = 512;

/** Two ends in one thread: a batch is delivered in a microtask of its own, so neither side runs inside the other. */
export function inlinePorts<A, B>(): [Port<A, B>, Port<B, A>] {
  const left = new Inbox<B>();
  const right = new Inbox<A>();
  return [inlinePort<A, B>(right, left), inlinePort<B, A>(left, right)];
}

/**
 * One end of a duplex to another thread. The first message of a turn goes at once, before the caller can
 * block the thread; the rest of the turn follows in one batch.
 */
export function threadPort<Out, In>(channel: MessageChannelEnd): Port<Out, In> {
  let waiting: Out[] = [];
  let isCollecting = false;
  let isClosed = false;
  const flush = () => {
    isCollecting = false;
    if (waiting.length === 0) return;
    const batch = waiting;
    waiting = [];
    channel.postMessage(batch);
    collect();
  };
  const collect = () => {
    isCollecting = true;
    setImmediate(flush);
  };
  return {
    post(message) {
      if (isClosed) return;
      if (isCollecting) {
        waiting.push(message);
        // A turn that never ends must not keep everything here.
        if (waiting.length >= maxWaiting) {
          channel.postMessage(waiting);
          waiting = [];
        }
        return;
      }
      channel.postMessage([message]);
      collect();
    },
    listen(take) {
      channel.on("message", (value) => take(batchOf<In>(value)));
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      if (waiting.length > 0) channel.postMessage(waiting);
      waiting = [];
    },
  };
}

function inlinePort<Out, In>(theirs: Inbox<Out>, ours: Inbox<In>): Port<Out, In> {
  let isClosed = false;
  return {
    post: (message) => {
      if (!isClosed) theirs.push(message);
    },
    listen: (take) => ours.listen(take),
    close: () => {
      isClosed = true;
    },
  };
}

class Inbox<T> {
  #waiting: T[] = [];
  #take: ((messages: readonly T[]) => void) | undefined;

  push(message: T): void {
    this.#waiting.push(message);
    if (this.#waiting.length === 1) queueMicrotask(this.#deliver);
  }

  listen(take: (messages: readonly T[]) => void): void {
    this.#take = take;
    queueMicrotask(this.#deliver);
  }

  readonly #deliver = (): void => {
    if (this.#take === undefined || this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#take(batch);
  };
}

// Safe: both ends of a thread's channel are made by this file's callers with matching types, and nothing else
// has the channel.
function batchOf<T>(value: unknown): readonly T[] {
  return value as readonly T[];
}
