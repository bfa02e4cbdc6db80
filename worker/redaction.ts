import type { RedactingStream } from "./context.ts";
import { secretForms } from "./secret-forms.ts";
import { TextDecoding } from "./text.ts";

/** What stands for a secret, or for several that touch. */
export const redactedText = "***";

/** The secrets of one attempt, and how they are taken out of what it says. */
export class Redaction {
  #forms: Set<string> | undefined;
  #matcher: Matcher | undefined;

  /** Registers a secret, for all that is said from now on. False for one that is too short to be found. */
  add(secret: string): boolean {
    const forms = secretForms(secret);
    if (forms.length === 0) return false;
    this.#forms = new Set([...(this.#forms ?? []), ...forms]);
    this.#matcher = new Matcher(this.#forms);
    return true;
  }

  /** Whole text without secrets; the same text when there is none in it. */
  redact(text: string): string {
    const matcher = this.#matcher;
    if (matcher === undefined) return text;
    const run = new Run();
    return run.push(matcher, text) + run.end();
  }

  /** A JSON value without secrets; the same value when there is none in it. A number that holds one becomes text. */
  redactValue(value: unknown): unknown {
    if (this.#matcher === undefined) return value;
    switch (typeof value) {
      case "string":
        return this.redact(value);
      case "number": {
        const text = String(value);
        const redacted = this.redact(text);
        return redacted === text ? value : redacted;
      }
      case "object":
        if (value === null) return null;
        if (Array.isArray(value)) return value.map((item) => this.redactValue(item));
        return Object.fromEntries(
          Object.entries(value).map(([name, item]) => [this.redact(name), this.redactValue(item)]),
        );
      default:
        return value;
    }
  }

  /** JSON as bytes, without secrets. */
  redactJson(json: Uint8Array): Uint8Array {
    if (this.#matcher === undefined) return json;
    const text = Buffer.from(json).toString("utf8");
    if (this.redact(text) === text) return json;
    const redacted = JSON.stringify(this.redactValue(JSON.parse(text)));
    // One that is written across several values cannot be cut out of them.
    const isClean = this.redact(redacted) === redacted;
    return Buffer.from(isClean ? redacted : JSON.stringify(redactedText), "utf8");
  }

  /** A stream: of a process's output, say. A secret that is registered meanwhile is found from there on. */
  stream(): RedactingStream {
    const decoding = new TextDecoding();
    const run = new Run();
    const pass = (text: string) => {
      const matcher = this.#matcher;
      return matcher === undefined ? text : run.push(matcher, text);
    };
    return {
      push: (chunk) => pass(decoding.push(chunk)),
      end: () => pass(decoding.end()) + run.end(),
    };
  }
}

/** A state of the automaton: the longest ending of what was read that begins a form. */
interface State {
  readonly next: Map<number, State>;
  readonly depth: number;
  /** The longest proper ending of this one that is a state, too. */
  fallback: State | undefined;
  /** Length of the longest form that ends here; 0 for none. */
  matched: number;
}

/** All forms at once, one step a UTF-16 unit (Aho and Corasick, 1975). */
class Matcher {
  readonly root: State = newState(0);

  constructor(forms: Iterable<string>) {
    for (const form of forms) this.#insert(form);
    this.#link();
  }

  step(from: State, unit: number): State {
    for (let state: State | undefined = from; state !== undefined; state = state.fallback) {
      const next = state.next.get(unit);
      if (next !== undefined) return next;
    }
    return this.root;
  }

  #insert(form: string): void {
    let state = this.root;
    for (let at = 0; at < form.length; at++) {
      const unit = form.charCodeAt(at);
      let next = state.next.get(unit);
      if (next === undefined) {
        next = newState(at + 1);
        state.next.set(unit, next);
      }
      state = next;
    }
    state.matched = form.length;
  }

  // By breadth, so that what a state falls back to is linked before it.
  #link(): void {
    const queue: State[] = [this.root];
    for (const state of queue) {
      for (const [unit, next] of state.next) {
        next.fallback = state.fallback === undefined ? this.root : this.step(state.fallback, unit);
        next.matched = Math.max(next.matched, next.fallback.matched);
        queue.push(next);
      }
    }
  }
}

function newState(depth: number): State {
  return { next: new Map(), depth, fallback: undefined, matched: 0 };
}

/** One text on its way through a matcher. All units of all matches are covered; a run of them is shown as one. */
class Run {
  #matcher: Matcher | undefined;
  #state: State | undefined;
  /** Read, and not given out. */
  #held = "";
  /** Stretches of `held` that are covered, in order, apart from each other. */
  #covered: [start: number, end: number][] = [];
  /** What was given out last was a covered run that `held` may go on with. */
  #isInRun = false;

  push(matcher: Matcher, text: string): string {
    const again = this.#matcher === matcher ? "" : this.#held;
    if (this.#matcher !== matcher) {
      this.#matcher = matcher;
      this.#state = matcher.root;
      // What was covered stays so.
      this.#held = "";
    }
    let state = this.#state ?? matcher.root;
    const read = again + text;
    const start = this.#held.length;
    this.#held += read;
    for (let at = 0; at < read.length; at++) {
      state = matcher.step(state, read.charCodeAt(at));
      if (state.matched > 0) this.#cover(start + at + 1 - state.matched, start + at + 1);
    }
    this.#state = state;
    return this.#give(this.#held.length - state.depth);
  }

  end(): string {
    this.#state = this.#matcher?.root;
    const rest = this.#give(this.#held.length);
    this.#isInRun = false;
    return rest;
  }

  #cover(from: number, to: number): void {
    let start = from;
    for (
      let last = this.#covered.at(-1);
      last !== undefined && last[1] >= start;
      last = this.#covered.at(-1)
    ) {
      start = Math.min(start, last[0]);
      this.#covered.pop();
    }
    this.#covered.push([start, to]);
  }

  #give(length: number): string {
    if (length <= 0) return "";
    let out = "";
    let at = 0;
    const left: [number, number][] = [];
    for (const [start, end] of this.#covered) {
      if (start >= length) {
        left.push([start - length, end - length]);
        continue;
      }
      if (start > at) out += this.#plain(at, start);
      if (!this.#isInRun) out += redactedText;
      this.#isInRun = true;
      at = Math.min(end, length);
      if (end > length) left.push([0, end - length]);
    }
    if (at < length) out += this.#plain(at, length);
    this.#held = this.#held.slice(length);
    this.#covered = left;
    return out;
  }

  #plain(from: number, to: number): string {
    this.#isInRun = false;
    return this.#held.slice(from, to);
  }
}
