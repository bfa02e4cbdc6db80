import type { GlyphSet } from "../output/states.ts";
import { bucketMs, type FlowBucket } from "./store/status.ts";

/** A sparkline of the latest spans, the newest at the right; a span without a figure is blank. */
export function sparkline(values: readonly (number | undefined)[], glyphs: GlyphSet): string {
  const levels = glyphs === "ascii" ? "_.-=+*#" : "▁▂▃▄▅▆▇█";
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  return values
    .map((value) => {
      if (value === undefined) return " ";
      const level = value === 0 ? 0 : Math.max(1, Math.round((value / most) * (levels.length - 1)));
      return levels[level] ?? " ";
    })
    .join("");
}

/** One figure a span for the last `count` spans that are over or under way. */
export function flowValues(
  flow: readonly FlowBucket[],
  count: number,
  pick: (bucket: FlowBucket) => number,
): (number | undefined)[] {
  const last = flow.at(-1)?.index;
  if (last === undefined) return Array.from({ length: count }, () => undefined);
  const byIndex = new Map(flow.map((bucket) => [bucket.index, pick(bucket)]));
  return Array.from({ length: count }, (_, at) => byIndex.get(last - count + 1 + at));
}

/** How much time so many spans are, in milliseconds. */
export function flowSpanMs(count: number): number {
  return count * bucketMs;
}

/** A bar of so many cells, filled by a fraction of 0 to 1. */
export function progressBar(fraction: number, cells: number, glyphs: GlyphSet): string {
  const filled = Math.min(1, Math.max(0, fraction)) * cells;
  if (glyphs === "ascii") return "#".repeat(Math.floor(filled)).padEnd(cells, "-");
  const whole = Math.floor(filled);
  const eighth = Math.floor((filled - whole) * 8);
  const part = eighth === 0 || whole >= cells ? "" : (" ▏▎▍▌▋▊▉"[eighth] ?? "");
  return ("█".repeat(whole) + part).padEnd(cells, "░");
}
