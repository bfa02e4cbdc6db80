import type { Profile, ProfileSpan } from "@muster/client/v1/job";
import type { GlyphSet } from "./states.ts";
import { durationToMs, showDuration } from "./time.ts";

/** A span as a line of a tree. */
export interface ProfileRow {
  /** With the branches of the tree before it; as it came, not made safe. */
  readonly name: string;
  readonly count: bigint;
  readonly failed: bigint;
  readonly total: string;
  readonly self: string;
  /** Of the time of the whole. */
  readonly share: string;
}

/** The spans of a profile as a tree, those that took longest first; what no span held comes last. */
export function profileRows(profile: Profile, glyphs: GlyphSet): ProfileRow[] {
  const wholeMs = msOf(profile.runTime);
  // What is inside of what, by the place in the list; what names no place before it is outermost.
  const inside = Map.groupBy(profile.spans.entries(), ([at, { parent }]) => (parent <= at ? parent : 0));
  const [last, middle, through] = glyphs === "ascii" ? ["`- ", "|- ", "|  "] : ["└─ ", "├─ ", "│  "];
  const rows: ProfileRow[] = [];
  const add = (parent: number, before: string) => {
    const spans = [...(inside.get(parent) ?? [])].sort(([, a], [, b]) => totalOf(b) - totalOf(a));
    for (const [n, [at, span]] of spans.entries()) {
      const isLast = n === spans.length - 1;
      const branch = parent === 0 ? "" : isLast ? last : middle;
      rows.push({
        name: `${before}${branch}${span.name}`,
        count: span.count,
        failed: span.failed,
        total: showFine(totalOf(span)),
        self: showFine(msOf(span.selfTime)),
        share: shareOf(totalOf(span), wholeMs),
      });
      add(at + 1, parent === 0 ? "" : `${before}${isLast ? "   " : through}`);
    }
  };
  add(0, "");
  const held = [...(inside.get(0) ?? [])].reduce((sum, [, span]) => sum + totalOf(span), 0);
  if (profile.spans.length > 0 && held < wholeMs) {
    const rest = showFine(wholeMs - held);
    rows.push({
      ...{ name: "(outside of spans)", count: 0n, failed: 0n, total: rest, self: rest },
      share: shareOf(wholeMs - held, wholeMs),
    });
  }
  return rows;
}

const totalOf = (span: ProfileSpan) => msOf(span.totalTime);

function msOf(duration: Profile["runTime"]): number {
  return duration === undefined ? 0 : durationToMs(duration);
}

function shareOf(ms: number, wholeMs: number): string {
  return wholeMs <= 0 ? "-" : `${((ms / wholeMs) * 100).toFixed(1)}%`;
}

// Spans are often shorter than a millisecond.
function showFine(ms: number): string {
  return ms > 0 && ms < 10 ? `${ms.toFixed(2)}ms` : showDuration(ms);
}
