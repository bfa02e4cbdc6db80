import type { HistogramBucket } from "@muster/client/v1/stats_service";
import type { GlyphSet } from "./states.ts";
import { durationToMs, showCount, showDuration } from "./time.ts";

/** Figures as one line of characters, the largest as the highest; none at all is the lowest. */
export function sparkline(values: readonly number[], glyphs: GlyphSet): string {
  const levels = glyphs === "ascii" ? "_.-=+*#" : "▁▂▃▄▅▆▇█";
  const most = Math.max(1, ...values);
  return values
    .map((value) => levels[value <= 0 ? 0 : Math.max(1, Math.round((value / most) * (levels.length - 1)))])
    .join("");
}

/** The sparkline of a time, a character a step; steps that are not named are 0. At most 100 of them, the latest. */
export function trendOf(
  counts: readonly { readonly atMs: number; readonly count: number }[],
  { startMs, endMs, stepMs }: { readonly startMs: number; readonly endMs: number; readonly stepMs: number },
  glyphs: GlyphSet,
): string {
  const steps = Math.max(1, Math.ceil((endMs - startMs) / stepMs));
  const values = Array.from({ length: Math.min(steps, 100) }, () => 0);
  const first = steps - values.length;
  for (const { atMs, count } of counts) {
    const at = Math.floor((atMs - startMs) / stepMs) - first;
    if (at >= 0 && at < values.length) values[at] = (values[at] ?? 0) + count;
  }
  return sparkline(values, glyphs);
}

/** A histogram as lines, one a doubling of the duration, with its share and its count. */
export function histogramLines(buckets: readonly HistogramBucket[], glyphs: GlyphSet, cells = 40): string[] {
  const bins = new Map<number, number>();
  for (const { end, count } of buckets) {
    const endMs = end === undefined ? 0 : durationToMs(end);
    // Bounds are rounded to the microsecond.
    const bin = endMs <= 1 ? 0 : Math.ceil(Math.log2(endMs) - 1e-3);
    bins.set(bin, (bins.get(bin) ?? 0) + Number(count));
  }
  const [low, high] = [Math.min(...bins.keys()), Math.max(...bins.keys())];
  const counts = Array.from({ length: high - low + 1 }, (_, n) => bins.get(low + n) ?? 0);
  const [most, total] = [Math.max(...counts), counts.reduce((sum, count) => sum + count, 0)];
  return counts.map((count, n) => {
    const from = low + n === 0 ? "0s" : showDuration(2 ** (low + n - 1));
    const bar = (glyphs === "ascii" ? "#" : "█").repeat(
      count === 0 ? 0 : Math.max(1, Math.round((count / most) * cells)),
    );
    const share = `${((count / total) * 100).toFixed(1)}%`;
    const bounds = `${from.padStart(7)} - ${showDuration(2 ** (low + n)).padEnd(7)}`;
    return `${bounds} ${bar.padEnd(cells)} ${share.padStart(6)}  ${showCount(count)}`.trimEnd();
  });
}
