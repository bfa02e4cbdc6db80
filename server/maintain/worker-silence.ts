import type { Config } from "../config.ts";
import type { Coordinator } from "../domain/context.ts";
import { call, runInOrg } from "../store/statement.ts";
import { tellRecovered, tellStale } from "../store/worker-silence.ts";

/** Workers that one transaction tells of. */
const mostAtOnce = 200;

/** Time between two looks for silence at most: they read each link. */
const askedEachMs = 5_000;

/** Says of each look whether it is to look for silence: the age of a heartbeat that is late, or null. */
export function silenceAsked({ staleMs }: Pick<Config, "staleMs">, nowMs: () => number): () => number | null {
  let askedMs = Number.NEGATIVE_INFINITY;
  return () => {
    if (nowMs() - askedMs < Math.min(askedEachMs, staleMs / 3)) return null;
    askedMs = nowMs();
    return staleMs;
  };
}

/**
 * Tells the event feed of workers that fell silent, and of those that are heard again, each once. Who seems silent may
 * only not have been heard: `mayBeSilent` says whether that is judged now.
 */
export async function tellSilence(
  c: Pick<Coordinator, "db" | "config" | "newId">,
  orgId: string,
  { mayBeSilent, signal }: { readonly mayBeSilent: boolean; readonly signal: AbortSignal },
): Promise<void> {
  for (const tell of mayBeSilent ? [tellRecovered, tellStale] : [tellRecovered]) {
    for (let more = true; more && !signal.aborted; ) {
      const ids = Array.from({ length: mostAtOnce }, () => c.newId());
      const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
        call(tell, { org: orgId, silent: c.config.staleMs, ids }),
      ]);
      more = rows.length === mostAtOnce;
    }
  }
}
