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
}

/** How the table is going to be shown. */
export interface TableOptions {
  /** Width of the terminal; undefined when it is not one: then cells are separated by tabs and never cut. */
  readonly columns: number | undefined;
  readonly paint: Paint;
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
  const safe = rows.map((row) => columns.map((_, at) => safeCell(row[at] ?? "")));
  if (options.columns === undefined) {
    const texts = safe.map((row) => row.map(({ text }) => text));
    return [columns.map(({ title }) => title), ...texts].map((row) => row.join("\t"));
  }
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...safe.map((row) => widthOf(row[at]?.text ?? ""))),
  );
  const shown = fittingColumns(columns, widths, options.columns);
  const last = shown.at(-1) ?? 0;
  const before = shown.slice(0, -1).reduce((sum, at) => sum + (widths[at] ?? 0) + gap, 0);
  const lastRoom = Math.max(minLastCells, options.columns - before);
  const lay = (row: readonly SafeCell[]): string =>
    shown
      .map((at) => {
        const { text, style } = row[at] ?? { text: "", style: "plain" };
        const align = columns[at]?.align ?? "left";
        if (at === last && align === "left") return options.paint(style, truncate(text, lastRoom));
        return options.paint(style, pad(text, widths[at] ?? 0, align));
      })
      .join(" ".repeat(gap))
      .trimEnd();
  const titles = columns.map(({ title }): SafeCell => ({ text: title, style: "dim" }));
  return [titles, ...safe].map(lay);
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
