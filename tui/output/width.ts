import stringWidth from "string-width";

/** How many cells of a terminal the text takes. Escape sequences of ours count nothing. */
export function widthOf(text: string): number {
  return stringWidth(text);
}

/** Cuts unpainted text to so many cells, by whole graphemes, with a mark at the cut. */
export function truncate(text: string, cells: number, mark = "…"): string {
  if (cells <= 0) return "";
  if (text.length <= cells && isAscii.test(text)) return text;
  if (stringWidth(text) <= cells) return text;
  const room = cells - stringWidth(mark);
  if (room < 0) return "";
  let kept = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    const width = stringWidth(segment);
    if (used + width > room) break;
    kept += segment;
    used += width;
  }
  return kept + mark;
}

/** Fills text to so many cells: at its end, or in front for "right". Longer text stays as it is. */
export function pad(text: string, cells: number, align: "left" | "right" = "left"): string {
  const fill = " ".repeat(Math.max(0, cells - stringWidth(text)));
  return align === "left" ? text + fill : fill + text;
}

/** Exactly so many cells: cut or filled. */
export function fitTo(text: string, cells: number, align: "left" | "right" = "left", mark = "…"): string {
  return pad(truncate(text, cells, mark), cells, align);
}

const isAscii = /^[\u0020-\u007e]*$/;
