/** What all spans of one name in one place took. */
export interface ProfileSpan {
  readonly name: string;
  /** The place in the list of the span that it is in, from 0; null: none. */
  readonly parent: number | null;
  readonly count: number;
  /** How many of them threw. */
  readonly failed: number;
  readonly totalMs: number;
  /** Without the time in which a span inside of it was open. */
  readonly selfMs: number;
}

/** Where the time of an attempt went, or of many. */
export interface Profile {
  /** A parent before what it holds. */
  readonly spans: readonly ProfileSpan[];
  /** Spans beyond the bounds. */
  readonly dropped: number;
  readonly runMs: number;
}

/** Spans that a profile holds at most. */
export const maxSpans = 200;
/** Characters of the name of one. */
export const maxSpanName = 100;
/** Between two names of a path: no name has it. */
const separator = "\n";

/** A profile as its worker sent it, within bounds: what is beyond them counts as dropped. Null when nothing is in it. */
export function boundedProfile(said: Profile): Profile | null {
  const places = new Map<number, number>();
  const spans: ProfileSpan[] = [];
  let dropped = amount(said.dropped);
  for (const [index, span] of said.spans.entries()) {
    const parent = span.parent === null ? null : places.get(span.parent);
    if (spans.length >= maxSpans || parent === undefined) {
      dropped += amount(span.count);
      continue;
    }
    places.set(index, spans.length);
    const { count, failed, totalMs, selfMs } = span;
    spans.push({
      name: cleanName(span.name),
      parent,
      count: amount(count),
      failed: amount(failed),
      totalMs: duration(totalMs),
      selfMs: duration(selfMs),
    });
  }
  return spans.length === 0 && dropped === 0 ? null : { spans, dropped, runMs: duration(said.runMs) };
}

/** The profile as the store keeps it: JSON, in the order of `ProfileSpan`. */
export function writeProfile({ spans, dropped, runMs }: Profile): string {
  const rows = spans.map((one) => [
    ...[one.name, one.parent, one.count, one.failed],
    ...[rounded(one.totalMs), rounded(one.selfMs)],
  ]);
  return JSON.stringify([rounded(runMs), dropped, rows]);
}

/** Reads what `writeProfile` wrote; null for anything else. */
export function readProfile(text: string | null): Profile | null {
  if (text === null) return null;
  try {
    const [runMs, dropped, rows] = JSON.parse(text) as [number, number, readonly (readonly unknown[])[]];
    const spans = rows.map(([name, parent, count, failed, totalMs, selfMs]) => ({
      ...{ name: String(name), parent: parent === null ? null : Number(parent), count: Number(count) },
      ...{ failed: Number(failed), totalMs: Number(totalMs), selfMs: Number(selfMs) },
    }));
    return { runMs, dropped, spans };
  } catch {
    return null;
  }
}

/** What spans of one path took, of many attempts. */
export interface PathSum {
  /** The names from the outermost one on. */
  readonly path: string;
  readonly count: number;
  readonly totalMs: number;
  readonly selfMs: number;
}

/** The spans of a profile by their paths. */
export function pathsOf({ spans }: Profile): PathSum[] {
  const paths: string[] = [];
  return spans.map(({ name, parent, count, totalMs, selfMs }) => {
    const path = parent === null ? name : `${paths[parent] ?? ""}${separator}${name}`;
    paths.push(path);
    return { path, count, totalMs, selfMs };
  });
}

/** One profile of many: the spans that took longest, with those that they are in. */
export function profileOfSums(sums: readonly PathSum[], runMs: number): Profile {
  const known = new Map(sums.map((one) => [one.path, one]));
  const kept = new Set<string>();
  let dropped = 0;
  for (const one of [...sums].sort((a, b) => b.totalMs - a.totalMs)) {
    const above = ancestors(one.path).filter((path) => !kept.has(path));
    if (kept.size + above.length > maxSpans) dropped += one.count;
    else for (const path of above) kept.add(path);
  }
  const places = new Map<string, number>();
  const spans: ProfileSpan[] = [];
  const add = (path: string, parent: number | null, name: string) => {
    const { count = 0, totalMs = 0, selfMs = 0 } = known.get(path) ?? {};
    places.set(path, spans.length);
    spans.push({ name, parent, count, failed: 0, totalMs, selfMs });
  };
  for (const path of [...kept].sort((a, b) => depth(a) - depth(b) || totalOf(known, b) - totalOf(known, a))) {
    const cut = path.lastIndexOf(separator);
    const parent = cut < 0 ? null : (places.get(path.slice(0, cut)) ?? null);
    add(path, parent, path.slice(cut + 1));
  }
  return { spans, dropped, runMs };
}

function ancestors(path: string): string[] {
  const names = path.split(separator);
  return names.map((_, n) => names.slice(0, n + 1).join(separator));
}

const depth = (path: string) => path.split(separator).length;
const totalOf = (known: ReadonlyMap<string, PathSum>, path: string) => known.get(path)?.totalMs ?? 0;
const rounded = (ms: number) => Math.round(ms * 1_000) / 1_000;
const amount = (value: number) =>
  Number.isFinite(value) ? Math.min(1e12, Math.max(0, Math.floor(value))) : 0;
const duration = (value: number) => (Number.isFinite(value) ? Math.min(1e12, Math.max(0, value)) : 0);

function cleanName(name: string): string {
  const clean = [...name.toWellFormed().replace(/\p{Cc}/gu, " ")].slice(0, maxSpanName).join("");
  return clean.trim() === "" ? "(no name)" : clean;
}
