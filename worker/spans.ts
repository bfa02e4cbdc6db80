import { AsyncLocalStorage } from "node:async_hooks";
import type { JobProfile } from "./engine/messages.ts";
import { clipText } from "./text.ts";
import type { TraceSpan } from "./tracing.ts";

/** What a profile holds at most: names in their places, and spans inside of each other. */
export const spanBounds = { names: 200, depth: 16, nameChars: 100 } as const;

/** What all spans of one name in one place took so far. */
interface Place {
  readonly name: string;
  readonly parent: number | null;
  readonly inside: Map<string, number>;
  count: number;
  failed: number;
  totalMs: number;
  selfMs: number;
}

/** A span that has begun. */
interface OpenSpan {
  /** Null: beyond the bounds. */
  readonly place: number | null;
  readonly depth: number;
  readonly parent: OpenSpan | undefined;
  readonly startMs: number;
  readonly trace: TraceSpan | undefined;
  /** Spans inside of it that are open, since when there is one, and for how long there were before. */
  inside: number;
  insideSinceMs: number;
  insideMs: number;
  isEnded: boolean;
}

/**
 * The spans that a handler marks: which is inside of which follows from where it was begun, also across `await` and
 * among spans that are open at the same time. Summed up at once: a span a row of a big table costs no memory.
 */
export class Spans {
  readonly #nowMs: () => number;
  readonly #startMs: number;
  readonly #trace: TraceSpan | undefined;
  readonly #current = new AsyncLocalStorage<OpenSpan>();
  readonly #places: Place[] = [];
  readonly #outermost = new Map<string, number>();
  readonly #open = new Set<OpenSpan>();
  #dropped = 0;

  /** `startMs`: when the attempt began, by the same clock. `trace`: its own span, when it is traced. */
  constructor(startMs: number, trace: TraceSpan | undefined, nowMs: () => number = () => performance.now()) {
    this.#startMs = startMs;
    this.#trace = trace;
    this.#nowMs = nowMs;
  }

  /** Runs `body` within a span, until what it returns has settled. Answers with what it returns, throws what it throws. */
  run<T>(name: string, body: () => T): T {
    const span = this.#begin(clipText(name.replace(/\p{Cc}/gu, " "), spanBounds.nameChars) || "(no name)");
    const inTrace = span.trace === undefined ? body : () => span.trace?.within(body) as T;
    let value: T;
    try {
      value = this.#current.run(span, inTrace);
    } catch (thrown) {
      this.#end(span, { thrown });
      throw thrown;
    }
    if (!isPromise(value)) {
      this.#end(span);
      return value;
    }
    const ended = value.then(
      (result) => {
        this.#end(span);
        return result;
      },
      (thrown: unknown) => {
        this.#end(span, { thrown });
        throw thrown;
      },
    );
    return sameType(ended, value);
  }

  /** Ends what is still open, and sums up. */
  finish(): JobProfile {
    for (const span of [...this.#open].reverse()) this.#end(span);
    const spans = this.#places.map(({ inside, ...place }) => place);
    return { spans, dropped: this.#dropped, runMs: this.#nowMs() - this.#startMs };
  }

  #begin(name: string): OpenSpan {
    const current = this.#current.getStore();
    const parent = current?.isEnded === true ? undefined : current;
    const depth = (parent?.depth ?? 0) + 1;
    const startMs = this.#nowMs();
    const span: OpenSpan = {
      place: this.#placeOf(name, parent, depth),
      ...{ depth, parent, startMs },
      trace: (parent?.trace ?? this.#trace)?.child(name),
      ...{ inside: 0, insideSinceMs: 0, insideMs: 0, isEnded: false },
    };
    if (parent !== undefined && parent.inside++ === 0) parent.insideSinceMs = startMs;
    this.#open.add(span);
    return span;
  }

  #end(span: OpenSpan, failure?: { readonly thrown: unknown }): void {
    if (span.isEnded) return;
    span.isEnded = true;
    this.#open.delete(span);
    const nowMs = this.#nowMs();
    const { parent, startMs } = span;
    if (parent !== undefined && --parent.inside === 0) parent.insideMs += nowMs - parent.insideSinceMs;
    // It ended before what it began: from here on that is nobody's time but its own.
    const insideMs = span.insideMs + (span.inside > 0 ? nowMs - span.insideSinceMs : 0);
    span.trace?.end(failure);
    const place = span.place === null ? undefined : this.#places[span.place];
    if (place === undefined) {
      this.#dropped += 1;
      return;
    }
    place.count += 1;
    if (failure !== undefined) place.failed += 1;
    place.totalMs += nowMs - startMs;
    place.selfMs += nowMs - startMs - insideMs;
  }

  #placeOf(name: string, parent: OpenSpan | undefined, depth: number): number | null {
    if (parent?.place === null || depth > spanBounds.depth) return null;
    const siblings = parent === undefined ? this.#outermost : this.#places[parent.place]?.inside;
    const known = siblings?.get(name);
    if (known !== undefined) return known;
    if (this.#places.length >= spanBounds.names) return null;
    const place = this.#places.length;
    this.#places.push({
      ...{ name, parent: parent?.place ?? null, inside: new Map() },
      ...{ count: 0, failed: 0, totalMs: 0, selfMs: 0 },
    });
    siblings?.set(name, place);
    return place;
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

// It settles as the promise that it stands for.
function sameType<T>(promise: PromiseLike<unknown>, _: T): T {
  return promise as T;
}
