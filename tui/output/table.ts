import type { Paint, Style } from "./paint.ts";
import { sanitize } from "./sanitize.ts";
import { pad, truncate, widthOf } from "./width.ts";

/** One cell: text as it came (the table makes it safe), perhaps set off. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** May be left out where the terminal is too narrow: the lowest number goes first. */
  readonly drop?: number;
  /** Is there with `-o wide` alone. */
  readonly isWide?: boolean;
}

/** How the table is going to be shown. */
export interface TableOptions {
  /** Width of the terminal; undefined when it is not one: then cells are separated by tabs and never cut. */
  readonly columns: number | undefined;
  readonly paint: Paint;
  /** Every column, also those for `-o wide` alone, and nothing cut. */
  readonly isWide?: boolean;
  /** Rows alone, without their titles. */
  readonly noHeaders?: boolean;
}

/**
 * Lays out rows below their titles. On a terminal columns are aligned, what does not fit is left out, and the last
 * column is cut; elsewhere all of it is there, with a tab between two cells, for `cut` and `awk`.
 */
export function layTable(
  columns: readonly Column[],
  rows: readonly Cell[][],
  options: TableOptions,
): string[] {
  const isWide = options.isWide === true;
  const kept = columns.flatMap((column, at) => (column.isWide === true && !isWide ? [] : [{ column, at }]));
  const titles = kept.map(({ column }): SafeCell => ({ text: column.title, style: "dim" }));
  const safe = rows.map((row) => kept.map(({ at }) => safeCell(row[at] ?? "")));
  const head = options.noHeaders === true ? [] : [titles];
  if (options.columns === undefined) {
    return [...head, ...safe].map((row) => row.map(({ text }) => text).join("\t"));
  }
  const room = isWide ? Number.POSITIVE_INFINITY : options.columns;
  const lay = rowLayout(
    kept.map(({ column }) => column),
    [...head, ...safe],
    room,
    options.paint,
  );
  return [...head, ...safe].map(lay);
}

/** Lays out facts, a line each: the name, then the value. Facts without a value are left out. */
export function layFacts(
  facts: readonly (readonly [name: string, value: Cell | undefined])[],
  options: TableOptions,
): string[] {
  const kept = facts.flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [{ name, value }],
  );
  const width = Math.max(0, ...kept.map(({ name }) => name.length));
  return kept.map(({ name, value }) => {
    const { text, style } = safeCell(value);
    if (options.columns === undefined) return `${name}\t${text}`;
    return `${options.paint("dim", pad(name, width))}  ${options.paint(style, text)}`;
  });
}

const gap = 2;
const minLastCells = 10;

function rowLayout(
  columns: readonly Column[],
  rows: readonly (readonly SafeCell[])[],
  room: number,
  paint: Paint,
): (row: readonly SafeCell[]) => string {
  const needed = columns.map((_, at) => Math.max(0, ...rows.map((row) => widthOf(row[at]?.text ?? ""))));
  const shown = fittingColumns(columns, needed, room);
  const widths = narrowed(columns, needed, shown, room);
  const last = shown.at(-1) ?? 0;
  const before = shown.slice(0, -1).reduce((sum, at) => sum + (widths[at] ?? 0) + gap, 0);
  const lastRoom = Math.max(minLastCells, room - before);
  return (row) =>
    shown
      .map((at) => {
        const { text, style } = row[at] ?? { text: "", style: "plain" };
        const align = columns[at]?.align ?? "left";
        if (at === last && align === "left") return paint(style, truncate(text, lastRoom));
        const cells = widths[at] ?? 0;
        return paint(style, pad(truncate(text, cells), cells, align));
      })
      .join(" ".repeat(gap))
      .trimEnd();
}

// Where all that must be there is still too wide, the widest texts give way; never the first, which is the id or name.
function narrowed(
  columns: readonly Column[],
  needed: readonly number[],
  shown: readonly number[],
  room: number,
): readonly number[] {
  const widths = [...needed];
  const last = shown.at(-1);
  const giving = shown.filter((at, place) => place > 0 && at !== last && columns[at]?.align !== "right");
  for (;;) {
    const total = shown.reduce(
      (sum, at) =>
        sum + gap + Math.min(widths[at] ?? 0, at === last ? minLastCells : Number.POSITIVE_INFINITY),
      -gap,
    );
    const widest = giving.toSorted((one, other) => (widths[other] ?? 0) - (widths[one] ?? 0))[0];
    if (total <= room || widest === undefined || (widths[widest] ?? 0) <= minLastCells) return widths;
    widths[widest] = Math.max(minLastCells, (widths[widest] ?? 0) - (total - room));
  }
}

interface SafeCell {
  readonly text: string;
  readonly style: Style;
}

// The places of the columns that fit, in order; the last column needs only so much.
function fittingColumns(columns: readonly Column[], widths: readonly number[], room: number): number[] {
  let shown = columns.map((_, at) => at);
  const needed = (): number =>
    shown.reduce((sum, at) => {
      const isCut = at === columns.length - 1 && columns[at]?.align !== "right";
      return sum + gap + (isCut ? Math.min(widths[at] ?? 0, minLastCells) : (widths[at] ?? 0));
    }, -gap);
  const order = columns.flatMap(({ drop }, at) => (drop === undefined ? [] : [{ drop, at }]));
  for (const { at } of order.sort((one, other) => one.drop - other.drop)) {
    if (needed() <= room) break;
    shown = shown.filter((kept) => kept !== at);
  }
  return shown;
}

function safeCell(cell: Cell): SafeCell {
  return typeof cell === "string"
    ? { text: sanitize(cell), style: "plain" }
    : { text: sanitize(cell.text), style: cell.style };
}
