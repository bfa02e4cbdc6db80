import stringWidth from "string-width";

/** How many cells of a terminal the text takes. Escape sequences of ours count nothing. */
export function widthOf(text: string): number {
  if (narrow.test(text)) return text.length;
  const bare = text.replace(styles, "");
  return narrow.test(bare) ? bare.length : stringWidth(bare);
}

/** Cuts unpainted text to so many cells, by whole graphemes, with a mark at the cut. */
export function truncate(text: string, cells: number, mark = "…"): string {
  if (cells <= 0) return "";
  const isNarrow = narrow.test(text);
  if (isNarrow ? text.length <= cells : stringWidth(text) <= cells) return text;
  const room = cells - widthOf(mark);
  if (room < 0) return "";
  if (isNarrow) return text.slice(0, room) + mark;
  let kept = "";
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const width = stringWidth(segment);
    if (used + width > room) break;
    kept += segment;
    used += width;
  }
  return kept + mark;
}

/** Fills text to so many cells: at its end, or in front for "right". Longer text stays as it is. */
export function pad(text: string, cells: number, align: "left" | "right" = "left"): string {
  const fill = " ".repeat(Math.max(0, cells - widthOf(text)));
  return align === "left" ? text + fill : fill + text;
}

/** Exactly so many cells: cut or filled. */
export function fitTo(text: string, cells: number, align: "left" | "right" = "left", mark = "…"): string {
  return pad(truncate(text, cells, mark), cells, align);
}

/**
 * Text of characters that take one cell each and join with nothing: ASCII, Latin letters, rules, blocks and the signs
 * of the console. Nearly every cell is such, and to find graphemes takes longer than all else that a line needs.
 */
const narrow = /^[ -~¡-¬®-ÿ–—‖•…←-↓─-▟▲△▶▸▼▽○◌●◐◔◯✓-✖]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: an escape is what it is for
const styles = /\u001b\[[0-9;]*m/g;
// Making one costs more than a line.
const graphemes = new Intl.Segmenter();
