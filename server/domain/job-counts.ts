import { countStates, sumStatesByQueue } from "../store/job-counts.ts";
import type { JobFilter } from "../store/job-lists.ts";
import { readOrg, readOrgByIndex } from "../store/snapshot.ts";
import { inOrder, type StateCount } from "./batches.ts";
import { createCache } from "./cache.ts";
import type { Coordinator } from "./context.ts";
import type { TextMatch } from "./rules/filter.ts";
import type { JobState } from "./rules/states.ts";

/** Jobs by state. */
export interface JobCountsView {
  /** In the order of the states; those without jobs are left out. */
  readonly states: readonly StateCount[];
  /** Not all were counted. */
  readonly isAtLeast: boolean;
}

/** Counts jobs for any number of askers. */
export interface JobCountsReader {
  /** Those that a filter lets through whatever their state. At most some seconds old. */
  countJobs(orgId: string, filter: JobFilter): Promise<JobCountsView>;
}

/** Live jobs, and ended ones, that a count with conditions looks at. */
const mostExamined = 20_000;

/**
 * Makes the reader. Without conditions, or with conditions on the queue alone, a count is exact and costs next to
 * nothing; else it walks the newest jobs, and is kept for twenty times as long as it took, 1 s to 10 s.
 */
export function createJobCountsReader(
  c: Pick<Coordinator, "db">,
  {
    nowMs = () => performance.now(),
    most = mostExamined,
  }: { readonly nowMs?: () => number; readonly most?: number } = {},
): JobCountsReader {
  const cache = createCache<JobCountsView>({
    maxAgeMs: (tookMs) => Math.min(10_000, Math.max(1_000, 20 * tookMs)),
    maxEntries: 1_000,
    nowMs,
  });
  return {
    countJobs(orgId, given) {
      const filter = withoutStates(given);
      const key = `${orgId} ${JSON.stringify(filter)}`;
      return cache.get(key, () => count(c, orgId, filter, most));
    },
  };
}

async function count(
  c: Pick<Coordinator, "db">,
  orgId: string,
  filter: JobFilter,
  most: number,
): Promise<JobCountsView> {
  const queues = queueConditions(filter);
  if (queues === null) {
    const { counts, isPartial } = await readOrgByIndex(c.db.app, orgId, (tx) =>
      countStates(tx, orgId, filter, most),
    );
    return { states: listed(counts), isAtLeast: isPartial };
  }
  const rows = await readOrg(c.db.app, orgId, (tx) => sumStatesByQueue(tx, orgId));
  const sums = new Map<JobState, number>();
  for (const { counts } of rows.filter(({ queue }) => queues.every((holds) => holds(queue)))) {
    for (const [state, jobs] of counts) sums.set(state, (sums.get(state) ?? 0) + jobs);
  }
  return { states: listed(sums), isAtLeast: false };
}

function withoutStates(filter: JobFilter): JobFilter {
  return {
    ...filter,
    states: [],
    terms: filter.terms.filter((term) => !(term.type === "word" && term.key === "state")),
  };
}

// What the filter asks of the queue when it asks nothing else; else null.
function queueConditions(filter: JobFilter): ((queue: string) => boolean)[] | null {
  const { queue, terms, states, labels, ...others } = filter;
  if (Object.values(others).some((value) => value !== null) || Object.keys(labels).length > 0) return null;
  const conditions: ((name: string) => boolean)[] = queue === null ? [] : [(name) => name === queue];
  for (const term of terms) {
    if (term.type !== "text" || term.key !== "queue") return null;
    conditions.push((name) => term.any.some((match) => isMatch(name, match)) !== term.isNegated);
  }
  return states.length > 0 ? null : conditions;
}

function isMatch(name: string, { text, isPrefix }: TextMatch): boolean {
  return isPrefix ? name.startsWith(text) : name === text;
}

function listed(counts: ReadonlyMap<JobState, number>): StateCount[] {
  return inOrder([...counts].map(([state, jobs]) => ({ state, count: jobs })));
}
