import { inOrg, orgTxOf } from "../store/database.ts";
import { readClock } from "../store/explain.ts";
import {
  countLogsOfDay,
  dayOfJob,
  firstDayOfLogs,
  readOldJobs,
  removeBatches,
  removeLogsOfDay,
} from "../store/org-retention.ts";
import { dayLabel, dayStart } from "../store/partitions.ts";
import type { Told } from "./backups.ts";
import type { Coordinator } from "./context.ts";
import type { DomainError } from "./errors.ts";
import { planRemoval, removeJobs } from "./removals.ts";
import type { RetentionContext, RetentionPolicy, RetentionResult } from "./retention.ts";

/** What retention of one org works with. */
export type OrgRetentionContext = Pick<Coordinator, "db"> & Pick<RetentionContext, "artifacts">;

/**
 * Removes an org's own jobs of days that are older, with all that is kept of them, and nothing of other orgs: the days'
 * tables are everybody's, so jobs go as `deleteJob` lets them go, in steps of a bounded number. One stays that has not
 * ended, or that one depends on that waits. What broke off is finished by the next pass. `rows` of the result: jobs, or
 * parts of logs.
 */
export async function keepOrgToPolicy(
  c: OrgRetentionContext,
  orgId: string,
  { jobsDays, logsDays, isDryRun }: RetentionPolicy,
  { signal, told }: { readonly signal: AbortSignal; readonly told: Told },
): Promise<RetentionResult> {
  const { sweep } = c.db;
  const now = await inOrg(sweep, orgId, readClock);
  const daysAgo = (days: number) => dayLabel(new Date(now.getTime() - days * dayMs));
  const before = daysAgo(jobsDays);
  const gone = new Map<string, number>();
  const stay = new Map<string, string>();
  let files = 0;
  for (let after = lowest; ; ) {
    signal.throwIfAborted();
    const jobIds = await readOldJobs(sweep, orgId, { after, before, limit: stepJobs });
    if (jobIds.length === 0) break;
    after = jobIds.at(-1) ?? after;
    told(0.5, `jobs of ${dayOfJob(after)}`);
    const step = await removeSome(c, orgId, jobIds, isDryRun);
    files += step.files;
    for (const jobId of step.gone) gone.set(dayOfJob(jobId), (gone.get(dayOfJob(jobId)) ?? 0) + 1);
    for (const [jobId, why] of step.stay) stay.set(dayOfJob(jobId), why);
  }
  const dropped = [...gone].map(([day, rows]) => ({ table: "jobs", day, rows }));
  const kept = [...stay].map(([day, why]) => ({ table: "jobs", day, why }));
  if (logsDays !== null) dropped.push(...(await dropLogs(c, orgId, daysAgo(logsDays), { isDryRun, signal })));
  if (!isDryRun) await removeBatches(sweep, orgId, dayStart([...stay.keys()][0] ?? before));
  return { isDryRun, dropped, kept, files };
}

const dayMs = 86_400_000;
const lowest = "00000000-0000-0000-0000-000000000000";

/** Jobs of one transaction. */
const stepJobs = 200;

interface Step {
  readonly gone: readonly string[];
  /** Those that stay, each with why. */
  readonly stay: ReadonlyMap<string, string>;
  readonly files: number;
}

function removeSome(
  c: OrgRetentionContext,
  orgId: string,
  jobIds: readonly string[],
  isDryRun: boolean,
): Promise<Step> {
  return inOrg(c.db.app, orgId, async (app) => {
    const tx = orgTxOf(app, orgId);
    const { jobs, refused, releasing } = await planRemoval(tx, jobIds, { isLocked: !isDryRun });
    const onTheirWay = new Set(releasing);
    const free = jobs.filter(({ jobId }) => !onTheirWay.has(jobId));
    return {
      gone: free.map(({ jobId }) => jobId),
      stay: new Map([
        ...releasing.map((jobId): [string, string] => [jobId, "the end of a job of it is on its way"]),
        ...[...refused].map(([jobId, error]): [string, string] => [jobId, whyOf(error)]),
      ]),
      files: isDryRun ? 0 : await removeJobs(c, tx, free),
    };
  });
}

function whyOf({ reason }: DomainError): string {
  if (reason === "JOB_NOT_TERMINAL") return "a job of it has not ended";
  if (reason === "JOB_HAS_DEPENDANTS") return "a job that waits depends on one of it";
  return "a job of it has no end that is known";
}

// Day by day, each found when the one before it is done with.
async function dropLogs(
  { db: { sweep } }: OrgRetentionContext,
  orgId: string,
  upTo: string,
  { isDryRun, signal }: { readonly isDryRun: boolean; readonly signal: AbortSignal },
): Promise<{ readonly table: string; readonly day: string; readonly rows: number }[]> {
  const dropped: { table: string; day: string; rows: number }[] = [];
  for (let from = "19700101"; ; ) {
    const day = await firstDayOfLogs(sweep, orgId, { from, upTo });
    if (day === null) return dropped;
    let rows = isDryRun ? await countLogsOfDay(sweep, orgId, day) : 0;
    for (let more = !isDryRun; more; ) {
      signal.throwIfAborted();
      const gone = await removeLogsOfDay(sweep, orgId, day);
      rows += gone;
      more = gone > 0;
    }
    dropped.push({ table: "log_chunks", day, rows });
    from = dayLabel(new Date(dayStart(day).getTime() + dayMs));
  }
}
