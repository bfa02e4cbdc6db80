import type { ConnectError } from "@connectrpc/connect";
import { type Freshness, lostConnection } from "./connection.ts";
import type { Counts, FeedMessage, FeedSink, PageTokens } from "./feed.ts";

/** What is known of a list, and where the user is in it. Everything that a view shows of it. */
export interface ListState<Row> extends Freshness {
  /** Ids in the order in which they are shown. */
  readonly order: readonly string[];
  readonly rows: ReadonlyMap<string, Row>;
  /** Rows that left the list and stay for now: under the cursor, marked, or frozen. */
  readonly left: ReadonlySet<string>;
  /** The row under the cursor, by id: it stays on its row when rows move. */
  readonly cursor: string | undefined;
  /** The first row of the window. */
  readonly top: number;
  readonly marks: ReadonlySet<string>;
  /** Everything that the filter matches is marked, also what is not loaded. */
  readonly allMarked: boolean;
  readonly isFrozen: boolean;
  /** Changes of order and membership that the freeze holds back. */
  readonly waiting: number;
  readonly counts: Counts | undefined;
  readonly atLeast: boolean;
  readonly tokens: PageTokens;
  /** When a row last changed its look, for rows that did so lately. */
  readonly changedMs: ReadonlyMap<string, number>;
  readonly note: string;
  /** Why the server refuses the list; undefined when it does not. */
  readonly refusal: ConnectError | undefined;
  /** A snapshot came. */
  readonly isLoaded: boolean;
}

/** What a list is made for. */
export interface ListOptions<Row> {
  readonly idOf: (row: Row) => string;
  /** The server's order, for lists that are told of single rows. Without it, new rows come last. */
  readonly compare?: (one: Row, other: Row) => number;
  /** Whether the row shall catch the eye: a change of state. */
  readonly isChanged?: (before: Row, after: Row) => boolean;
  /** Rows at most; those beyond the end are dropped. */
  readonly most?: number;
  readonly nowMs: number;
  /** Silence that is normal, in milliseconds: for lists that are told when something changes. */
  readonly quietMs?: number;
}

/** The state of a list, kept outside of React. Every method is synchronous and leaves it consistent. */
export interface ListStore<Row> extends FeedSink<Row> {
  readonly state: () => ListState<Row>;
  /** The row under the cursor. */
  readonly current: () => Row | undefined;
  /** Moves the cursor by so many rows. Answers false when it was at that end already. */
  readonly move: (by: number) => boolean;
  readonly moveTo: (where: "first" | "last" | string) => void;
  /** Makes the window so high, and the cursor visible in it. */
  readonly fit: (height: number) => void;
  /** Lets changes that caught the eye long enough look like everything else. */
  readonly settle: (nowMs: number) => void;
  /** Moves the window, for the wheel; the cursor stays inside. */
  readonly scroll: (by: number) => void;
  readonly toggleMark: () => void;
  /** Marks from the last mark to the cursor. */
  readonly markRange: () => void;
  readonly markAll: () => void;
  readonly clearMarks: () => void;
  /** Holds order and membership still. Several holders: it goes on when all let go. */
  readonly freeze: (holder: string, isHeld: boolean) => void;
  /** Local order; undefined: the server's. */
  readonly sortBy: (compare: ((one: Row, other: Row) => number) | undefined) => void;
  /** Forgets everything, for another filter or page. The cursor may be told to start at the end. */
  readonly clear: (nowMs: number, startAt?: "first" | "last") => void;
}

/** Makes an empty list. */
export function createListStore<Row>(options: ListOptions<Row>): ListStore<Row> {
  const { idOf, most = 500 } = options;
  let state = emptyState<Row>(options.nowMs, options.quietMs ?? 45_000);
  let local: ((one: Row, other: Row) => number) | undefined;
  let startAt: "first" | "last" = "first";
  let lastMark: string | undefined;
  let height = 1;
  const holders = new Set<string>();
  /** What the feed says while the list is frozen: the truth, to be shown later. */
  let truth: { order: string[]; rows: Map<string, Row> } = { order: [], rows: new Map() };

  const set = (change: Partial<ListState<Row>>): void => {
    state = { ...state, ...change };
  };

  const placed = (): string[] => {
    const compare = local ?? options.compare;
    if (compare === undefined) return truth.order;
    const rowOf = (id: string): Row | undefined => truth.rows.get(id);
    return [...truth.order].sort((one, other) => {
      const [a, b] = [rowOf(one), rowOf(other)];
      return a === undefined || b === undefined ? 0 : compare(a, b);
    });
  };

  // Shows what is true now. A row that is gone stays under the cursor, marked as such.
  const show = (nowMs: number, keepLook: boolean): void => {
    const isHeld = holders.size > 0 && state.isLoaded;
    const order = isHeld ? [...state.order] : placed();
    const rows = new Map<string, Row>();
    const left = new Set<string>();
    for (const id of order) {
      const row = truth.rows.get(id) ?? state.rows.get(id);
      if (row === undefined) continue;
      rows.set(id, row);
      if (!truth.rows.has(id)) left.add(id);
    }
    const { cursor } = state;
    const ghost = cursor === undefined ? undefined : state.rows.get(cursor);
    if (cursor !== undefined && ghost !== undefined && !rows.has(cursor)) {
      order.splice(Math.min(state.order.indexOf(cursor), order.length), 0, cursor);
      rows.set(cursor, ghost);
      left.add(cursor);
    }
    const waiting = isHeld ? left.size + truth.order.filter((id) => !rows.has(id)).length : 0;
    set({
      order,
      rows,
      left,
      waiting,
      isFrozen: isHeld,
      marks: new Set([...state.marks].filter((id) => rows.has(id))),
      changedMs: keepLook ? newlyChanged(state, rows, options, nowMs) : new Map(),
      cursor:
        cursor !== undefined && rows.has(cursor) ? cursor : startAt === "last" ? order.at(-1) : order[0],
    });
    fit(height);
  };

  const fit = (rows: number): void => {
    height = Math.max(1, rows);
    const at = state.cursor === undefined ? 0 : state.order.indexOf(state.cursor);
    const lowest = Math.max(0, state.order.length - height);
    const top = Math.max(0, Math.min(Math.max(state.top, at - height + 1), Math.max(0, at), lowest));
    if (top !== state.top) set({ top });
  };

  // Leaving a row that is gone takes it off the list.
  const leave = (to: string | undefined): void => {
    const from = state.cursor;
    set({ cursor: to });
    if (from !== undefined && from !== to && state.left.has(from) && !state.isFrozen) {
      show(state.receivedMs, true);
    }
    fit(height);
  };

  const receive = (message: FeedMessage<Row>, nowMs: number): void => {
    const heard = { connection: { kind: "live" } as const, receivedMs: nowMs, refusal: undefined };
    switch (message.kind) {
      case "alive":
      case "reset":
        set(heard);
        return;
      case "snapshot": {
        truth = {
          order: message.rows.map(idOf),
          rows: new Map(message.rows.map((row) => [idOf(row), row])),
        };
        set({
          ...heard,
          tokens: message.tokens,
          counts: message.counts,
          atLeast: message.atLeast ?? false,
          note: message.note ?? "",
        });
        const wasLoaded = state.isLoaded;
        show(nowMs, wasLoaded);
        set({ isLoaded: true });
        return;
      }
      case "delta": {
        for (const id of message.left) truth.rows.delete(id);
        if (message.left.length > 0) truth.order = truth.order.filter((id) => truth.rows.has(id));
        for (const row of message.rows) {
          const id = idOf(row);
          if (!truth.rows.has(id)) truth.order.push(id);
          truth.rows.set(id, row);
        }
        const compare = options.compare;
        if (compare !== undefined && message.rows.length > 0) truth.order = sorted(truth, compare);
        for (const id of truth.order.splice(most)) truth.rows.delete(id);
        set({
          ...heard,
          ...(message.tokens === undefined ? {} : { tokens: message.tokens }),
          ...(message.counts === undefined
            ? {}
            : { counts: message.counts, atLeast: message.atLeast ?? false }),
        });
        show(nowMs, true);
      }
    }
  };

  return {
    state: () => state,
    current: () => (state.cursor === undefined ? undefined : state.rows.get(state.cursor)),
    receive,
    lose: (cause, delayMs, attempt, nowMs) =>
      set({ connection: lostConnection(state.connection, cause, delayMs, attempt, nowMs) }),
    refuse: (refusal, nowMs) => set({ refusal, connection: { kind: "live" }, receivedMs: nowMs }),
    move: (by) => {
      const at = state.cursor === undefined ? -1 : state.order.indexOf(state.cursor);
      const to = Math.min(state.order.length - 1, Math.max(0, at + by));
      if (to === at || state.order.length === 0) return false;
      leave(state.order[to]);
      return true;
    },
    moveTo: (where) => {
      const to = where === "first" ? state.order[0] : where === "last" ? state.order.at(-1) : where;
      if (to !== undefined && state.rows.has(to)) leave(to);
    },
    fit,
    settle: (nowMs) => {
      const fresh = [...state.changedMs].filter(([, at]) => nowMs - at < noticedMs);
      if (fresh.length < state.changedMs.size) set({ changedMs: new Map(fresh) });
    },
    scroll: (by) => {
      const lowest = Math.max(0, state.order.length - height);
      const top = Math.min(lowest, Math.max(0, state.top + by));
      set({ top });
      const at = state.cursor === undefined ? 0 : state.order.indexOf(state.cursor);
      const inside = Math.min(Math.max(at, top), top + height - 1);
      if (inside !== at) leave(state.order[inside]);
    },
    toggleMark: () => {
      const { cursor } = state;
      if (cursor === undefined) return;
      const marks = new Set(state.marks);
      if (!marks.delete(cursor)) marks.add(cursor);
      lastMark = cursor;
      set({ marks, allMarked: false });
    },
    markRange: () => {
      const { cursor, order } = state;
      if (cursor === undefined) return;
      const from = order.indexOf(lastMark ?? cursor);
      const to = order.indexOf(cursor);
      const range = order.slice(Math.min(from < 0 ? to : from, to), Math.max(from, to) + 1);
      set({ marks: new Set([...state.marks, ...range]), allMarked: false });
    },
    markAll: () => set({ allMarked: true, marks: new Set() }),
    clearMarks: () => {
      lastMark = undefined;
      set({ allMarked: false, marks: new Set() });
    },
    freeze: (holder, isHeld) => {
      if (isHeld === holders.has(holder)) return;
      if (isHeld) holders.add(holder);
      else holders.delete(holder);
      show(state.receivedMs, true);
    },
    sortBy: (compare) => {
      local = compare;
      show(state.receivedMs, true);
    },
    clear: (nowMs, at = "first") => {
      startAt = at;
      truth = { order: [], rows: new Map() };
      lastMark = undefined;
      const { connection, counts, quietMs } = state;
      state = { ...emptyState<Row>(nowMs, quietMs), connection, counts };
    },
  };
}

/** A sink that passes everything on to the list, and says that there is something new. */
export function reportingSink<Row>(list: ListStore<Row>, changed: () => void): FeedSink<Row> {
  return {
    receive: (message, nowMs) => {
      list.receive(message, nowMs);
      changed();
    },
    lose: (cause, delayMs, attempt, nowMs) => {
      list.lose(cause, delayMs, attempt, nowMs);
      changed();
    },
    refuse: (error, nowMs) => {
      list.refuse(error, nowMs);
      changed();
    },
  };
}

function emptyState<Row>(nowMs: number, quietMs: number): ListState<Row> {
  return {
    connection: { kind: "connecting" },
    receivedMs: nowMs,
    quietMs,
    order: [],
    rows: new Map(),
    left: new Set(),
    cursor: undefined,
    top: 0,
    marks: new Set(),
    allMarked: false,
    isFrozen: false,
    waiting: 0,
    counts: undefined,
    atLeast: false,
    tokens: { next: "", previous: "" },
    changedMs: new Map(),
    note: "",
    refusal: undefined,
    isLoaded: false,
  };
}

function sorted<Row>(
  truth: { readonly order: string[]; readonly rows: Map<string, Row> },
  compare: (one: Row, other: Row) => number,
): string[] {
  return truth.order.sort((one, other) => {
    const [a, b] = [truth.rows.get(one), truth.rows.get(other)];
    return a === undefined || b === undefined ? 0 : compare(a, b);
  });
}

/** How long a change catches the eye, in milliseconds. */
const noticedMs = 2_000;

function newlyChanged<Row>(
  before: ListState<Row>,
  rows: ReadonlyMap<string, Row>,
  { isChanged }: ListOptions<Row>,
  nowMs: number,
): Map<string, number> {
  const kept = new Map([...before.changedMs].filter(([, at]) => nowMs - at < noticedMs));
  if (isChanged === undefined) return kept;
  for (const [id, row] of rows) {
    const old = before.rows.get(id);
    if (old !== undefined && old !== row && isChanged(old, row)) kept.set(id, nowMs);
  }
  return kept;
}
