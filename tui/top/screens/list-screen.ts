import { paletteOverlay } from "../overlays/palette.ts";
import type { Equal, KeyBinding } from "../shell/bindings.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { followFeed, type Source } from "../store/feed.ts";
import {
  createListStore,
  type ListOptions,
  type ListState,
  type ListStore,
  reportingSink,
} from "../store/list.ts";
import { clearMarks, listKeys } from "./list-keys.ts";
import { type ColumnSpec, layBeside, listLines, subjectLine, windowRows } from "./list-view.ts";

/** What is listed: a filter, an order, a page. */
export interface ListQuery {
  readonly filter: string;
  /** Id of an order; empty: the server's. */
  readonly order: string;
  /** Empty: the first page. */
  readonly pageToken: string;
  readonly isLastPage: boolean;
}

/** An order that the user can choose. */
export interface ListOrder<Row> {
  readonly id: string;
  readonly label: string;
  /** Orders what is loaded; absent: the server does it, and lists anew. */
  readonly compare?: (one: Row, other: Row) => number;
}

/** A screen that is a list. */
export interface ListScreenOptions<Row> extends Omit<ListOptions<Row>, "nowMs"> {
  readonly id: string;
  readonly title: () => string;
  readonly columns: readonly ColumnSpec<Row>[];
  readonly source: (query: ListQuery) => Source<Row>;
  /** The terms of its filter; absent: it has none. */
  readonly terms?: readonly FilterTerm[];
  readonly filter?: string;
  /** The first is the one to begin with. */
  readonly orders?: readonly ListOrder<Row>[];
  /** Lines above the filter, e.g. tabs. */
  readonly head?: (list: ListState<Row>, frame: ScreenFrame) => readonly string[];
  /** How many match in all, as the server counts. */
  readonly total?: (list: ListState<Row>) => bigint | undefined;
  readonly none: string;
  /** What Enter opens. */
  readonly openRow?: (row: Row) => void;
  /** What is shown of the row under the cursor where there is room: beside the list from 110×30 on, else below it. */
  readonly preview?: (row: Row, frame: ScreenFrame) => readonly string[];
  /** Rows of the preview below the list at 80×24; 0: only beside it. */
  readonly previewRows?: number;
  /** Keys of its own. */
  readonly keys: (list: ListStore<Row>, query: () => ListQuery) => readonly KeyBinding[];
  readonly canMark?: boolean;
  readonly command: (query: ListQuery, row: Row | undefined) => string;
  readonly equals: readonly Equal[];
  readonly copies?: (row: Row) => readonly (readonly [what: string, text: string])[];
  /** Something to do while the list is followed, e.g. reading what a preview shows. */
  readonly besides?: (signal: AbortSignal, list: ListStore<Row>) => Promise<void>;
}

/** A list with what belongs to it, for screens and tests. */
export interface ListScreen<Row> extends Screen {
  readonly list: ListStore<Row>;
  readonly query: () => ListQuery;
  readonly setFilter: (text: string) => void;
}

/** Makes a screen out of a source and columns: paging, filter, marks, orders, freeze and preview come with it. */
export function createListScreen<Row>(shell: Shell, options: ListScreenOptions<Row>): ListScreen<Row> {
  const list = createListStore<Row>({ ...options, nowMs: shell.now() });
  const { orders = [] } = options;
  let query: ListQuery = {
    filter: options.filter ?? "",
    order: orders[0]?.id ?? "",
    pageToken: "",
    isLastPage: false,
  };
  let isReversed = false;
  let skip = 0;
  let height = 10;
  let source = options.source(query);
  let bodyTop = 0;

  const ask = (change: Partial<ListQuery>, startAt: "first" | "last" = "first"): void => {
    query = { ...query, pageToken: "", isLastPage: false, ...change };
    source = options.source(query);
    clearMarks(list);
    list.clear(shell.now(), startAt);
    shell.restart();
  };
  const page = (where: "next" | "previous" | "first" | "last"): boolean => {
    const { tokens } = list.state();
    const token = where === "next" ? tokens.next : tokens.previous;
    if (where === "next" || where === "previous") {
      if (token === "") return false;
      ask({ pageToken: token }, where === "next" ? "first" : "last");
      return true;
    }
    if (where === "first" ? tokens.previous === "" : tokens.next === "") return false;
    ask(where === "first" ? {} : { isLastPage: true }, where);
    return true;
  };
  const sort = (order: ListOrder<Row> | undefined): void => {
    const compare = order?.compare;
    if (order !== undefined && compare === undefined) {
      list.sortBy(undefined);
      return ask({ order: order.id });
    }
    query = { ...query, order: order?.id ?? "" };
    list.sortBy(
      compare === undefined ? undefined : isReversed ? (one, other) => compare(other, one) : compare,
    );
  };
  const orderKeys: KeyBinding[] =
    orders.length < 2
      ? []
      : [
          {
            id: "sort",
            keys: ["s"],
            label: "sort by...",
            group: "look",
            danger: "none",
            run: () => {
              const choices = orders.map((order) => ({ label: order.label, run: () => sort(order) }));
              shell.open((close) =>
                paletteOverlay({ id: "sort", title: "Sort by", choices, isMenu: true }, close),
              );
            },
          },
          {
            id: "sort.reverse",
            keys: ["S"],
            label: "reverse",
            group: "look",
            danger: "none",
            run: () => {
              isReversed = !isReversed;
              const at = orders.findIndex(({ id }) => id === query.order);
              // Orders of the server come in pairs; ours are turned round.
              sort(orders[at]?.compare === undefined ? orders[(at + 1) % orders.length] : orders[at]);
            },
          },
        ];
  const { openRow } = options;
  const open = (): void => {
    const row = list.current();
    if (row !== undefined) openRow?.(row);
  };
  const openKeys: KeyBinding[] =
    openRow === undefined
      ? []
      : [
          {
            id: "open",
            keys: ["enter"],
            label: "open",
            group: "go",
            danger: "none",
            hint: 1,
            when: () => (list.current() === undefined ? "nothing is selected" : undefined),
            run: open,
          },
        ];
  const setFilter = (filter: string): void => ask({ filter });

  return {
    id: options.id,
    title: options.title,
    list,
    query: () => query,
    setFilter,
    keys: () => [
      ...openKeys,
      ...options.keys(list, () => query),
      ...orderKeys,
      ...listKeys(list, {
        page,
        height: () => height,
        canMark: options.canMark ?? false,
        shift: (by) => {
          skip = Math.max(0, Math.min(options.columns.length - 2, skip + by));
        },
      }),
    ],
    view: (frame) => {
      list.settle(shell.now());
      const state = list.state();
      const order = orders.find(({ id }) => id === query.order)?.label ?? "";
      const head = [
        ...(options.head?.(state, frame) ?? []),
        ...(options.terms === undefined && (options.canMark ?? false) === false
          ? []
          : [subjectLine(state, query.filter, order, options.total?.(state), frame)]),
      ];
      bodyTop = head.length + (frame.isLinear ? 0 : 1);
      const current = list.current();
      const { preview } = options;
      const isBeside = frame.layout === "wide" && preview !== undefined && !frame.isLinear;
      const below =
        !isBeside && frame.layout !== "compact" && preview !== undefined ? (options.previewRows ?? 0) : 0;
      const left: ScreenFrame = {
        ...frame,
        columns: isBeside ? Math.floor(frame.columns * 0.6) : frame.columns,
        rows: frame.rows - below,
      };
      height = windowRows(left, head.length);
      list.fit(height);
      const view = {
        columns: options.columns,
        chosen: shell.settings().columns.get(options.id),
        skip,
        head: isBeside ? [] : head,
        none: options.none,
      };
      const inner = isBeside ? { ...left, rows: left.rows - head.length } : left;
      const lines = listLines(list.state(), view, inner);
      if (current === undefined || preview === undefined) return isBeside ? [...head, ...lines] : lines;
      if (isBeside) {
        const at = left.columns + 2;
        const right = preview(current, { ...frame, columns: frame.columns - at, rows: inner.rows });
        return [...head, ...layBeside(lines, right.slice(0, inner.rows), at, inner.rows)];
      }
      if (below === 0) return lines;
      const filled = [...lines, ...Array.from({ length: left.rows }, () => "")].slice(0, left.rows);
      return [...filled, ...preview(current, { ...frame, rows: below }).slice(0, below)];
    },
    follow: async (signal) => {
      const told = reportingSink(list, shell.changed);
      await Promise.all([
        followFeed(source, told, { signal, now: shell.now }),
        options.besides?.(signal, list),
      ]);
    },
    freshness: list.state,
    awaiting: () => {
      const { isLoaded, refusal, connection } = list.state();
      return !isLoaded && refusal === undefined && connection.kind !== "lost";
    },
    note: () => [source.note?.() ?? "", list.state().note].filter((part) => part !== "").join(" · "),
    command: () => options.command(query, list.current()),
    equals: options.equals,
    ...(options.terms === undefined
      ? {}
      : { filter: { terms: options.terms, text: () => query.filter, apply: setFilter } }),
    freeze: list.freeze,
    frozen: () => (list.state().isFrozen ? list.state().waiting : undefined),
    escape: () => clearMarks(list),
    scroll: list.scroll,
    click: (line, isDouble) => {
      const id = list.state().order[list.state().top + line - bodyTop];
      if (id === undefined || line < bodyTop) return;
      list.moveTo(id);
      if (isDouble) open();
    },
    currentId: () => list.state().cursor,
    ...(options.copies === undefined
      ? {}
      : {
          copies: () => {
            const row = list.current();
            return row === undefined ? [] : (options.copies?.(row) ?? []);
          },
        }),
  };
}
