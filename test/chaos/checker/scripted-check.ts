import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import { checkHistory } from "./checker.ts";
import type { ScriptedLease, ScriptedRun } from "./scripted-run.ts";
import { type Invariant, invariantNames, type Verdict } from "./verdict.ts";

/** The handler of a lease succeeds, and the store has it. */
export function finish(run: ScriptedRun, lease: ScriptedLease): void {
  run.start(lease);
  run.stop(lease);
  run.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded });
}

/** Writes a run, and checks it. */
export async function check(run: ScriptedRun): Promise<Verdict> {
  const { folder, remove } = await run.write();
  try {
    return await checkHistory(folder);
  } finally {
    await remove();
  }
}

/** What is wrong, by name. */
export function wrongNames({ counts }: Verdict): Partial<Record<Invariant, number>> {
  return Object.fromEntries(
    invariantNames()
      .filter((name) => counts[name] > 0)
      .map((name) => [name, counts[name]]),
  );
}
