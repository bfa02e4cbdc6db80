import { fromBinary } from "@bufbuild/protobuf";
import { ConnectRequestSchema, ConnectResponseSchema } from "@muster/client/v1/link";
import type { Random } from "../random.ts";
import type { Counts } from "./fault-proxy.ts";

/** What a frame is: the name of its case in the schema. */
export type FrameCase = WorkerFrame | CoordinatorFrame;
type WorkerFrame =
  | "hello"
  | "heartbeat"
  | "linksChanged"
  | "offerReply"
  | "report"
  | "results"
  | "cancelStatus";
type CoordinatorFrame =
  | "welcome"
  | "heartbeatAck"
  | "offer"
  | "cancel"
  | "message"
  | "offerAck"
  | "eventAck"
  | "resultAck"
  | "command"
  | "goingAway"
  | "linksAck";

/** Harm to frames, as long as it is not healed. */
export interface FrameRule {
  readonly kind: "frames";
  /** Which ones. `any`: all but those that open and end a link. */
  readonly frames: readonly FrameCase[] | "any";
  readonly do: FrameDeed;
  /** Each by itself with this probability. Default 1. */
  readonly chance?: number;
  /** At most so many. Default: no limit. */
  readonly limit?: number;
  /** Only links of this worker: the public part of its key is in its name. */
  readonly worker?: string;
}

/** What is done to a frame. */
export type FrameDeed =
  | { readonly type: "drop" }
  | { readonly type: "duplicate" }
  | /** It goes on so much later; others overtake it. */ { readonly type: "delay"; readonly ms: number }
  | /** So many later frames overtake it; at the end of the link it goes on in any case. */ {
      readonly type: "reorder";
      readonly passing: number;
    }
  | /** It arrives on the next link of its worker; on its own as well when it is kept. */ {
      readonly type: "carry";
      readonly keep: boolean;
    };

/** A frame that is to go on, and when. */
export interface Passing {
  readonly bytes: Buffer;
  /** 0: now. */
  readonly delayMs: number;
}

/** Frames that a rule may keep for later; beyond them it lets frames pass. */
const maxKept = 1_000;

/** A rule at work. */
export class RuleAtWork {
  readonly rule: FrameRule;
  readonly #random: Random;
  #struck = 0;

  constructor(rule: FrameRule, random: Random) {
    this.rule = rule;
    this.#random = random;
  }

  /** It strikes this frame; to be asked once a frame. */
  strikes(frame: FrameCase, link: string): boolean {
    const { frames, worker, limit = Number.POSITIVE_INFINITY, chance = 1 } = this.rule;
    const isMeant = frames === "any" ? !neverMeant.has(frame) : frames.includes(frame);
    if (!isMeant || this.#struck >= limit || (worker !== undefined && !link.includes(worker))) return false;
    if (!this.#random.chance(chance)) return false;
    this.#struck += 1;
    return true;
  }
}

const neverMeant: ReadonlySet<FrameCase> = new Set(["hello", "welcome", "goingAway"]);

/** What frames of a worker wait for its next link. */
export class Carried {
  readonly #frames = new Map<string, Buffer[]>();

  /** False: there are too many already. */
  keep(link: string, direction: "up" | "down", bytes: Buffer): boolean {
    const key = `${direction} ${link}`;
    const kept = this.#frames.get(key) ?? [];
    if (kept.length >= maxKept) return false;
    this.#frames.set(key, [...kept, bytes]);
    return true;
  }

  take(link: string, direction: "up" | "down"): readonly Buffer[] {
    const key = `${direction} ${link}`;
    const kept = this.#frames.get(key) ?? [];
    this.#frames.delete(key);
    return kept;
  }
}

/** The frames of one direction of one link, on their way through the rules. */
export class FrameFlow {
  readonly #direction: "up" | "down";
  readonly #link: string;
  readonly #rules: ReadonlySet<RuleAtWork>;
  readonly #carried: Carried;
  readonly #counts: Counts;
  #arrived = 0;
  #held: { readonly bytes: Buffer; left: number }[] = [];

  /** `link` names the worker. */
  constructor(options: {
    readonly direction: "up" | "down";
    readonly link: string;
    readonly rules: ReadonlySet<RuleAtWork>;
    readonly carried: Carried;
    readonly counts: Counts;
  }) {
    this.#direction = options.direction;
    this.#link = options.link;
    this.#rules = options.rules;
    this.#carried = options.carried;
    this.#counts = options.counts;
  }

  /** What goes on for a frame that came, in this order. `bytes` is the whole gRPC message, with its head. */
  arrive(bytes: Buffer): readonly Passing[] {
    // Frames of an older link come behind the Welcome of this one, and behind what the worker says after it.
    this.#arrived += 1;
    const isOpening = this.#arrived === (this.#direction === "up" ? 2 : 1);
    const late = isOpening ? this.#carried.take(this.#link, this.#direction) : [];
    if (this.#rules.size === 0 && late.length === 0 && this.#held.length === 0) return [now(bytes)];
    if (late.length > 0) this.#counts.add("carried in", late.length);
    return [...this.#struck(bytes), ...this.#overtaken(), ...late.map(now)];
  }

  /** What was held back and goes on because the link ends. */
  end(): readonly Passing[] {
    return this.#held.splice(0).map(({ bytes }) => now(bytes));
  }

  #struck(bytes: Buffer): Passing[] {
    const frame = caseOf(bytes, this.#direction);
    const found =
      frame === undefined ? undefined : [...this.#rules].find((one) => one.strikes(frame, this.#link));
    if (found === undefined) return [now(bytes)];
    const deed = found.rule.do;
    this.#counts.add(`${deed.type} ${frame}`);
    switch (deed.type) {
      case "drop":
        return [];
      case "duplicate":
        return [now(bytes), now(bytes)];
      case "delay":
        return [{ bytes, delayMs: deed.ms }];
      case "reorder":
        if (this.#held.length >= maxKept) return [now(bytes)];
        this.#held.push({ bytes, left: deed.passing + 1 });
        return [];
      case "carry": {
        const isKept = this.#carried.keep(this.#link, this.#direction, bytes);
        return deed.keep || !isKept ? [now(bytes)] : [];
      }
    }
  }

  #overtaken(): Passing[] {
    for (const held of this.#held) held.left -= 1;
    const due = this.#held.filter(({ left }) => left <= 0);
    this.#held = this.#held.filter(({ left }) => left > 0);
    return due.map(({ bytes }) => now(bytes));
  }
}

function now(bytes: Buffer): Passing {
  return { bytes, delayMs: 0 };
}

// A compressed message is let pass unread: nobody here compresses.
function caseOf(bytes: Buffer, direction: "up" | "down"): FrameCase | undefined {
  if (bytes[0] !== 0) return undefined;
  const body = bytes.subarray(5);
  return direction === "up"
    ? fromBinary(ConnectRequestSchema, body).frame.case
    : fromBinary(ConnectResponseSchema, body).frame.case;
}
