import { isTerminal, JobState } from "./states.ts";

/*
 * The table of the lease contract, T1 to T20: which event may bring a job from
 * where to where. What decides between several targets is in `transitions.ts`;
 * every statement that writes a state takes it from here.
 *
 *             T1                  T4                T5
 *  BLOCKED ────────► READY ───────────────► OFFERED ─────► RUNNING ──► SUCCEEDED T8
 *     ▲ T2           ▲  ▲  ▲    T6, T7 │       │ ├──► CANCELLED T14, T15
 *  SCHEDULED ────────┘  │  └───────────┘       │ └──► DEAD T9, T10, T13
 *     ▲    T3           └── PARKED T12, T16 ◄──┤
 *     └───────── T9, T11 ──────────────────────┘ T11, T13 → READY
 */

/** Where a job can be: in a state, or not there (before its submit, after its removal). */
export type Place = JobState | "nowhere";

/** A move that an event may make. */
export type Move = readonly [from: Place, to: Place];

const { blocked, scheduled, ready, offered, running, parked, succeeded, cancelled, dead } = JobState;
const leased = [offered, running] as const;
const waiting = [blocked, scheduled, ready, parked] as const;

/** Every event, its line in the contract, and all moves that it may make. */
export const transitionTable = {
  submitted: { line: "T1", moves: from(["nowhere"], [blocked, scheduled, ready]) },
  "dependency-succeeded": {
    line: "T2",
    moves: [...from([blocked], [blocked, ready, scheduled]), [parked, parked]],
  },
  due: {
    line: "T3",
    moves: [...from([scheduled], [ready, blocked]), ...from([parked], [ready, blocked, scheduled])],
  },
  unparked: { line: "T3", moves: from([parked], [ready, blocked, scheduled]) },
  hurried: { line: "T3", moves: from([scheduled, parked], [ready, blocked]) },
  claimed: { line: "T4", moves: [[ready, offered]] },
  accepted: { line: "T5", moves: [[offered, running]] },
  declined: { line: "T6", moves: from([offered], [ready, cancelled]) },
  "offer-timed-out": { line: "T7", moves: from([offered], [ready, cancelled]) },
  // A gate of the job was paused.
  withdrawn: { line: "T7", moves: from([offered], [ready, cancelled]) },
  succeeded: { line: "T8", moves: from(leased, [succeeded]) },
  failed: { line: "T9, T10", moves: from(leased, [scheduled, dead, cancelled]) },
  released: { line: "T11", moves: from(leased, [ready, scheduled, cancelled]) },
  // An operator takes it back from its worker: at once, however often.
  revoked: { line: "T11", moves: from(leased, [ready, cancelled]) },
  // Its worker was told to drain, and is gone: never seen, or given back in its name.
  left: {
    line: "T7, T11, T13",
    moves: [
      ...from([offered], [ready, cancelled, dead]),
      ...from([running], [ready, scheduled, cancelled, dead]),
    ],
  },
  // The worker stopped: by request, or else of its own accord, which is a release.
  cancelled: { line: "T11, T15", moves: from(leased, [ready, scheduled, cancelled]) },
  parked: { line: "T12", moves: from(leased, [parked, cancelled]) },
  lost: { line: "T13", moves: from(leased, [ready, cancelled, dead]) },
  "cancel-requested": {
    line: "T14, T15",
    moves: [...from([...waiting, ...leased], [cancelled]), [running, running]],
  },
  "deadline-passed": {
    line: "T18",
    moves: [...from([...waiting, offered], [cancelled]), [running, running]],
  },
  held: { line: "T16", moves: from([blocked, scheduled, ready], [parked]) },
  "dependency-ended": {
    line: "T17",
    moves: [
      ...from([blocked], [blocked, ready, scheduled, cancelled]),
      ...from([parked], [parked, cancelled]),
    ],
  },
  replayed: { line: "T19", moves: from([cancelled, dead], [ready]) },
  deleted: { line: "T20", moves: from([succeeded, cancelled, dead], ["nowhere"]) },
} as const satisfies Readonly<Record<string, { readonly line: string; readonly moves: readonly Move[] }>>;

/** What can happen to a job. */
export type EventType = keyof typeof transitionTable;

/** Why an event does not apply; the caller makes its answer of it. */
export type Refusal =
  /** The run has ended: ALREADY_TERMINAL, DUPLICATE or SUPERSEDED, by who asks. */
  | { readonly refused: "already-terminal"; readonly state: Place }
  /** No lease is current here, or none that the event is about: SUPERSEDED. */
  | { readonly refused: "superseded"; readonly state: Place }
  /** The event is none of this state. */
  | { readonly refused: "not-possible"; readonly state: Place };

/** Null when an event may happen to a job in this place; else why not. */
export function refusal(place: Place, type: EventType): Refusal | null {
  if (sources(type).includes(place)) return null;
  if (place !== "nowhere" && isTerminal(place)) return { refused: "already-terminal", state: place };
  const isAboutLease = sources(type).every((one) => one === offered || one === running);
  return { refused: isAboutLease ? "superseded" : "not-possible", state: place };
}

/** True when the table has this move for this event. */
export function isMove(type: EventType, from: Place, to: Place): boolean {
  return movesOf(type).some(([source, target]) => source === from && target === to);
}

/** All moves of an event. */
export function movesOf(type: EventType): readonly Move[] {
  return transitionTable[type].moves;
}

/** The places in which an event may happen. */
export function sources(type: EventType): readonly Place[] {
  return placesOf.get(type)?.sources ?? [];
}

/** The states in which an event may happen to a live row: for the guards of statements. */
export function liveSources(type: EventType): readonly JobState[] {
  return sources(type).flatMap((place) => (place === "nowhere" || isTerminal(place) ? [] : [place]));
}

/** The state that an event leads to when it leads to one only: for statements that write it. */
export function targetOf(type: EventType): JobState {
  const [target, ...others] = placesOf.get(type)?.targets ?? [];
  if (target === undefined || target === "nowhere" || others.length > 0)
    throw new Error(`${type} does not lead to one state`);
  return target;
}

const placesOf: ReadonlyMap<
  string,
  { readonly sources: readonly Place[]; readonly targets: readonly Place[] }
> = new Map(
  Object.entries(transitionTable).map(([type, { moves }]) => [
    type,
    {
      sources: [...new Set(moves.map(([source]) => source))],
      targets: [...new Set(moves.map(([, target]) => target))],
    },
  ]),
);

function from(sources: readonly Place[], targets: readonly Place[]): readonly Move[] {
  return sources.flatMap((source) => targets.map((target): Move => [source, target]));
}
