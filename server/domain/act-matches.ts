import { inOrg, type Tx } from "../store/database.ts";
import { type JobFilter, readJobIds } from "../store/job-lists.ts";
import { countStates } from "../store/job-matches.ts";
import { readOrg } from "../store/snapshot.ts";
import type { StateCount } from "./batches.ts";
import type { Coordinator } from "./context.ts";
import { checkedState } from "./job-views.ts";
import { maxActed } from "./rules/acts.ts";

/** Which jobs an act is asked for. */
export type ActTarget =
  | { readonly ids: readonly string[] }
  /** `text` is the filter as people wrote it. */
  | { readonly filter: JobFilter; readonly text: string };

/** Jobs by state. */
export interface Matched {
  /** In the order of the states; those without jobs are left out. */
  readonly states: readonly StateCount[];
  /** Not all were counted: there are at least so many. */
  readonly isAtLeast: boolean;
}

/** Jobs of one call. */
export interface ActedPage {
  readonly jobIds: readonly string[];
  /** After which id the next call goes on; null at the end. */
  readonly next: string | null;
}

/** The next jobs that an act is done to, newest first, from before the id `before`. */
export async function actedPage(
  c: Pick<Coordinator, "db">,
  orgId: string,
  target: ActTarget,
  before: string,
): Promise<ActedPage> {
  if ("ids" in target) return { jobIds: [...new Set(target.ids)], next: null };
  const page = await inOrg(c.db.app, orgId, (tx) => matchingIds(tx, orgId, target.filter, before, maxActed));
  return { jobIds: page.ids, next: page.next };
}

/** Counts what an act would be done to, of the jobs before the id `before`. */
export async function countMatched(
  c: Pick<Coordinator, "db">,
  orgId: string,
  target: ActTarget,
  before: string,
): Promise<Matched> {
  return readOrg(c.db.app, orgId, async (tx) => {
    const counts = new Map<number, number>();
    const count = async (ids: readonly string[]): Promise<void> => {
      for (const row of await countStates(tx, orgId, ids)) {
        counts.set(row.state, (counts.get(row.state) ?? 0) + row.count);
      }
    };
    let isAtLeast = false;
    if ("ids" in target) await count([...new Set(target.ids)]);
    else {
      let cursor: string | null = before;
      for (let pages = 0; cursor !== null; pages++) {
        isAtLeast = pages === mostPages;
        if (isAtLeast) break;
        const page = await matchingIds(tx, orgId, target.filter, cursor, pageIds);
        await count(page.ids);
        cursor = page.next;
      }
    }
    const states = [...counts].sort(([a], [b]) => a - b);
    return { states: states.map(([state, n]) => ({ state: checkedState(state), count: n })), isAtLeast };
  });
}

/** How many jobs were counted. */
export function totalOf({ states }: Matched): number {
  return states.reduce((sum, { count }) => sum + count, 0);
}

// Counted are 100,000 jobs at most, among at most ten times as many.
const pageIds = 10_000;
const mostPages = 10;

function matchingIds(tx: Tx, orgId: string, filter: JobFilter, before: string, limit: number) {
  return readJobIds(tx, orgId, filter, { after: before, limit });
}
