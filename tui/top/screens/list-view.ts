import type { ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import type { Style } from "../../output/paint.ts";
import { showCount } from "../../output/time.ts";
import { fitTo, truncate, widthOf } from "../../output/width.ts";
import { layEnds, layLine, type Piece, safeText } from "../lines.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { ListState } from "../store/list.ts";

/** A column of a list. */
export interface ColumnSpec<Row> {
  /** For the configuration. */
  readonly id: string;
  readonly title: string;
  /** Cells. The last column that is shown takes what is left. */
  readonly width: number | ((frame: ScreenFrame) => number);
  readonly align?: "left" | "right";
  /** Where it is narrow, the column with the lowest rank is left out first; without a rank it stays. */
  readonly rank?: number;
  readonly cell: (row: Row, frame: ScreenFrame) => Piece;
}

/** What a list shows besides its rows. */
export interface ListViewOptions<Row> {
  readonly columns: readonly ColumnSpec<Row>[];
  /** Ids of columns from the configuration, in their order. */
  readonly chosen?: readonly string[] | undefined;
  /** Columns that are scrolled out at the left, behind the first. */
  readonly skip: number;
  /** Lines above the titles. */
  readonly head: readonly string[];
  /** What to say when there is nothing. */
  readonly none: string;
}

/** Rows that a list has for its window in a body of so many rows. */
export function windowRows(frame: ScreenFrame, head: number): number {
  return Math.max(1, frame.rows - head - (frame.isLinear ? 0 : 1));
}

/** A list: what stands above it, titles, and the rows of its window, each exactly one line. */
export function listLines<Row>(
  list: ListState<Row>,
  options: ListViewOptions<Row>,
  frame: ScreenFrame,
): string[] {
  const { head } = options;
  if (list.refusal !== undefined) {
    return [...head, ...refusalLines(list.refusal, frame)];
  }
  const columns = shownColumns(options, frame);
  const height = windowRows(frame, head.length);
  const window = list.order.slice(list.top, list.top + height);
  const rows = window.flatMap((id) => {
    const row = list.rows.get(id);
    if (row === undefined) return [];
    return [
      frame.isLinear ? linearRow(id, row, columns, list, frame) : rowLine(id, row, columns, list, frame),
    ];
  });
  const titles = frame.isLinear ? [] : [titleLine(columns, frame)];
  return [...head, ...titles, ...(rows.length > 0 ? rows : [emptyLine(list, options.none, frame)])];
}

/** The line of a list that says what is listed: the filter at the left; marks, order and count at the right. */
export function subjectLine<Row>(
  list: ListState<Row>,
  filter: string,
  order: string,
  total: bigint | undefined,
  frame: ScreenFrame,
): string {
  const left: Piece[] =
    filter === ""
      ? [{ text: " no filter", style: "dim" }]
      : [
          { text: " filter: ", style: "dim" },
          { text: filter, style: "cyan" },
        ];
  const { marks, allMarked, order: ids, atLeast, tokens } = list;
  const marked = allMarked
    ? [
        {
          text: `all ${total === undefined ? "" : `${showCount(total)} `}matching marked  `,
          style: "bold-yellow" as const,
        },
      ]
    : marks.size > 0
      ? [{ text: `${showCount(marks.size)} marked  `, style: "bold-yellow" as const }]
      : [];
  const count =
    total === undefined
      ? showCount(ids.length)
      : `${showCount(ids.length)} of ${atLeast ? "more than " : ""}${showCount(total)}`;
  const pages = `${tokens.previous === "" ? "" : "< "}${count}${tokens.next === "" ? "" : " >"}`;
  return layEnds(
    left,
    [...marked, { text: `${order}${order === "" ? "" : "  "}${pages} `, style: "dim" }],
    frame,
  );
}

// The place of a mistake in the filter is below it, where the line above shows it.
function refusalLines(refusal: ConnectError, frame: ScreenFrame): string[] {
  const { message, detail } = readError(refusal);
  const column = Number(detail?.metadata["column"]);
  const caret =
    column > 0 ? [layLine([{ text: `${" ".repeat(filterStart + column - 1)}^`, style: "red" }], frame)] : [];
  const fix = detail?.suggestion ?? "";
  return [
    ...caret,
    layLine([{ text: ` ${message}`, style: "red" }], frame),
    ...(fix === "" ? [] : [layLine([{ text: ` ${fix}` }], frame)]),
  ];
}

/** Where the text of a filter begins on the line that shows it. */
const filterStart = " filter: ".length;

function shownColumns<Row>(options: ListViewOptions<Row>, frame: ScreenFrame): readonly ColumnSpec<Row>[] {
  const { chosen, skip } = options;
  const known =
    chosen === undefined
      ? options.columns
      : chosen.flatMap((id) => options.columns.filter((column) => column.id === id));
  const [first, ...rest] = known.length === 0 ? options.columns : known;
  if (first === undefined) return [];
  let shown = [first, ...rest.slice(Math.min(skip, Math.max(0, rest.length - 1)))];
  const needed = (): number =>
    gutter +
    shown.reduce(
      (sum, column, at) => sum + (at === shown.length - 1 ? lastCells : widthIn(column, frame)) + 1,
      0,
    );
  while (needed() > frame.columns) {
    const ranked = shown.filter(({ rank }) => rank !== undefined);
    const lowest = Math.min(...ranked.map(({ rank }) => rank ?? 0));
    const gone = ranked.find(({ rank }) => rank === lowest);
    if (gone === undefined) break;
    shown = shown.filter((column) => column !== gone);
  }
  return shown;
}

/** Cells in front of a row: the cursor, and a mark or a blank. */
const gutter = 3;
const lastCells = 16;

function widthIn<Row>({ width }: ColumnSpec<Row>, frame: ScreenFrame): number {
  return typeof width === "number" ? width : width(frame);
}

function titleLine<Row>(columns: readonly ColumnSpec<Row>[], frame: ScreenFrame): string {
  return frame.paint(
    "dim",
    `   ${cellsOf(columns, ({ title }) => ({ text: title }), frame)
      .map(({ text }) => text)
      .join(" ")}`.slice(0, frame.columns),
  );
}

function rowLine<Row>(
  id: string,
  row: Row,
  columns: readonly ColumnSpec<Row>[],
  list: ListState<Row>,
  frame: ScreenFrame,
): string {
  const isCursor = id === list.cursor;
  const isMarked = list.allMarked || list.marks.has(id);
  const isGone = list.left.has(id);
  const bar = frame.glyphs === "ascii" ? ">" : "▌";
  const front = `${isCursor ? bar : " "}${isMarked ? "*" : " "} `;
  const cells = cellsOf(columns, (column) => column.cell(row, frame), frame);
  const gone = isGone ? " (left filter)" : "";
  if (isCursor || isGone) {
    // One style over the whole row: pieces of their own would end the bar.
    const text = front + cells.map((cell) => cell.text).join(" ");
    const room = frame.columns - gone.length;
    const line =
      gone === ""
        ? fitTo(text, frame.columns, "left", mark(frame))
        : fitTo(text, room, "left", mark(frame)) + gone;
    return frame.paint(isCursor ? "selected" : "dim", line);
  }
  const style: Style | undefined = list.changedMs.has(id) ? "bold" : undefined;
  return front + cells.map((cell) => frame.paint(style ?? cell.style, cell.text)).join(" ");
}

// For screen readers: names with their values, nothing that has to be looked up above.
function linearRow<Row>(
  id: string,
  row: Row,
  columns: readonly ColumnSpec<Row>[],
  list: ListState<Row>,
  frame: ScreenFrame,
): string {
  const facts = columns.flatMap((column) => {
    const { text } = column.cell(row, frame);
    return text.trim() === "" ? [] : [`${column.title.trim().toLowerCase()} ${text.trim()}`.trim()];
  });
  const where = id === list.cursor ? "Selected: " : "";
  const marked = list.allMarked || list.marks.has(id) ? ", marked" : "";
  const gone = list.left.has(id) ? ", left the filter" : "";
  return layLine([{ text: `${where}${facts.join(", ")}${marked}${gone}` }], frame);
}

interface LaidCell {
  readonly text: string;
  readonly style: Style;
}

function cellsOf<Row>(
  columns: readonly ColumnSpec<Row>[],
  pieceOf: (column: ColumnSpec<Row>) => Piece,
  frame: ScreenFrame,
): LaidCell[] {
  let used = gutter;
  return columns.map((column, at) => {
    const isLast = at === columns.length - 1;
    const width = isLast
      ? Math.max(0, frame.columns - used)
      : Math.min(widthIn(column, frame), Math.max(0, frame.columns - used));
    used += width + 1;
    const { text, style = "plain" } = pieceOf(column);
    const safe = safeText(text, frame);
    const cell = isLast
      ? truncate(safe, width, mark(frame))
      : fitTo(safe, width, column.align ?? "left", mark(frame));
    return { text: cell, style };
  });
}

function emptyLine<Row>(list: ListState<Row>, none: string, frame: ScreenFrame): string {
  const text = list.isLoaded ? none : frame.glyphs === "ascii" ? "Loading..." : "Loading…";
  return layLine([{ text: ` ${text}`, style: "dim" }], frame);
}

function mark({ glyphs }: ScreenFrame): string {
  return glyphs === "ascii" ? "~" : "…";
}

/** Two blocks beside each other: the second begins at a column. */
export function layBeside(
  left: readonly string[],
  right: readonly string[],
  at: number,
  rows: number,
): string[] {
  return Array.from({ length: rows }, (_, row) => {
    const line = left[row] ?? "";
    return line + " ".repeat(Math.max(0, at - widthOf(line))) + (right[row] ?? "");
  });
}
