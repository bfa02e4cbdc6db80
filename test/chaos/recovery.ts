import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { JobState } from "../../server/domain/rules/states.ts";
import type { ChangeLine, FaultLine } from "./history.ts";

/** How long it took until jobs were leased again, in milliseconds, ascending. */
export interface Resumptions {
  /** After the death of a coordinator: to one of the workers that it had. */
  readonly coordinator: readonly number[];
  /** After Postgres took connections again: to anybody. */
  readonly postgres: readonly number[];
}

/** Reads from the feed when dispatch went on after each death. A fault after which nothing was leased is left out. */
export async function readResumptions(folder: string): Promise<Resumptions> {
  const waiting: { type: "coordinator" | "postgres"; at: number; workers: ReadonlySet<string> | null }[] = [];
  for await (const line of linesOf<FaultLine>(join(folder, "faults.jsonl"))) {
    const workers = new Set(line.detail?.split(",").filter((id) => id !== ""));
    if (line.type === "kill-coordinator" && workers.size > 0) {
      waiting.push({ type: "coordinator", at: line.at, workers });
    }
    if (line.type === "start-postgres") waiting.push({ type: "postgres", at: line.at, workers: null });
  }
  const tooks = { coordinator: [] as number[], postgres: [] as number[] };
  for await (const { at, entries } of linesOf<ChangeLine>(join(folder, "changes.jsonl"))) {
    if (waiting.length === 0) break;
    const granted = entries.filter(([, state]) => state === JobState.offered).map(([, , , worker]) => worker);
    if (granted.length === 0) continue;
    for (const one of [...waiting]) {
      if (at < one.at) continue;
      if (one.workers && !granted.some((worker) => worker !== null && one.workers?.has(worker))) continue;
      tooks[one.type].push(at - one.at);
      waiting.splice(waiting.indexOf(one), 1);
    }
  }
  const ascending = (a: number, b: number) => a - b;
  return { coordinator: tooks.coordinator.sort(ascending), postgres: tooks.postgres.sort(ascending) };
}

/** How many processes ended that nobody had asked to. */
export async function countCrashes(folder: string): Promise<number> {
  let crashes = 0;
  for await (const { type } of linesOf<FaultLine>(join(folder, "faults.jsonl"))) {
    if (type === "crash") crashes++;
  }
  return crashes;
}

/** The value below which a share of the ascending values lies; null without values. */
export function quantile(values: readonly number[], share: number): number | null {
  const value = values[Math.min(values.length - 1, Math.floor(values.length * share))];
  return value === undefined ? null : Math.round(value);
}

async function* linesOf<T>(path: string): AsyncGenerator<T> {
  // A run that ended by an error may not have come so far.
  if (!existsSync(path)) return;
  for await (const line of createInterface({ input: createReadStream(path) })) yield readLine<T>(line);
}

// Safe: the runner of the same version wrote it.
function readLine<T>(text: string): T {
  return JSON.parse(text) as T;
}
