import { setTimeout as sleep } from "node:timers/promises";
import { inOrderOf } from "../domain/job-lists.ts";
import { type JobView, jobView } from "../domain/job-views.ts";
import { type JobFilter, readMatchingIds } from "../store/job-lists.ts";
import { readJobs } from "../store/job-views.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Watches } from "./watches.ts";

/** What became of the jobs that a filter lets through. */
export interface JobEvents {
  /** What was known is void. */
  readonly isReset: boolean;
  /** Jobs that changed and match, newest first. */
  readonly jobs: readonly JobView[];
  /** Jobs that changed and do not match, or are gone. */
  readonly leftIds: readonly string[];
  readonly revision: string;
}

/** Changed jobs that one answer is about; more at once are a reset. */
const mostJobs = 1_000;

/** Least time between two looks that found nothing. */
const spacingMs = 20;

/** Reads what became of the jobs of a list since a revision of the feed, and waits up to so long for a first change. */
export async function listEvents(
  { feed, coordinator, nowMs, enter }: Watches,
  {
    orgId,
    filter,
    since,
    waitMs,
  }: { readonly orgId: string; readonly filter: JobFilter; readonly since: string; readonly waitMs: number },
  signal: AbortSignal,
): Promise<JobEvents> {
  // Who waits watches; a look takes no place.
  using _place = waitMs > 0 ? enter(orgId) : undefined;
  const endMs = nowMs() + waitMs;
  let revision = since;
  for (;;) {
    const leftMs = Math.max(0, endMs - nowMs());
    const news = feed.waitForOrg(orgId, signal, Math.min(1_000, leftMs));
    const page = await feed.readSince(orgId, revision, { mostJobs });
    const ids = [...new Set(page.changes.map((change) => change.jobId))];
    revision = page.revision;
    if (page.isReset || ids.length > mostJobs) return { isReset: true, jobs: [], leftIds: [], revision };
    if (ids.length > 0 || leftMs === 0 || signal.aborted) {
      return readOrgByIndex(coordinator.db.app, orgId, async (tx) => {
        const matching = await readMatchingIds(tx, orgId, filter, ids);
        const views = (await readJobs(tx, orgId, matching, { isFull: false })).map(jobView);
        const here = new Set(views.map((job) => job.jobId));
        return {
          isReset: false,
          jobs: inOrderOf("newest-first", views),
          leftIds: ids.filter((id) => !here.has(id)),
          revision,
        };
      });
    }
    const pause = sleep(Math.min(spacingMs, leftMs), undefined, { signal }).catch(() => undefined);
    await Promise.all([news, pause]);
  }
}
