import type { Paint, Style } from "./paint.ts";
import { sanitize } from "./sanitize.ts";
import { pad, truncate, widthOf } from "./width.ts";

/** One cell: text as it came (the table makes it safe), perhaps set off. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** How the table is going to be shown. */
export interface TableOptions {
  /** Width of the terminal; undefined when it is not one: then cells are separated by tabs and never cut. */
  readonly columns: number | undefined;
  readonly paint: Paint;
}

/**
 * Lays out rows below their titles. On a terminal columns are aligned and the last one is cut to fit; elsewhere
 * there is one tab between two cells, for `cut` and `awk`.
 */
export function layTable(
  columns: readonly Column[],
  rows: readonly Cell[][],
  options: TableOptions,
): string[] {
  const safe = rows.map((row) => columns.map((_, at) => safeCell(row[at] ?? "")));
  if (options.columns === undefined) {
    return [columns.map(({ title }) => title), ...safe.map((row) => row.map(({ text }) => text))].map((row) =>
      row.join("\t"),
    );
  }
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...safe.map((row) => widthOf(row[at]?.text ?? ""))),
  );
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + gap, 0);
  const lastRoom = Math.max(minLastCells, options.columns - before);
  const lay = (cells: readonly { text: string; style: Style }[]): string =>
    cells
      .map(({ text, style }, at) => {
        const align = columns[at]?.align ?? "left";
        if (at === cells.length - 1 && align === "left")
          return options.paint(style, truncate(text, lastRoom));
        return options.paint(style, pad(text, widths[at] ?? 0, align));
      })
      .join(" ".repeat(gap))
      .trimEnd();
  const titles = columns.map(({ title }) => ({ text: title, style: "dim" as const }));
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

function safeCell(cell: Cell): { text: string; style: Style } {
  return typeof cell === "string"
    ? { text: sanitize(cell), style: "plain" }
    : { text: sanitize(cell.text), style: cell.style };
}
