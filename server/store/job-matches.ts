import { writeArray } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { attemptNames as a, queueNames as q } from "./names.ts";
import { attempts, jobQueue } from "./schema.ts";

/** How many of some jobs are in each state; those that are not there are left out. */
export async function countStates(
  tx: Tx,
  orgId: string,
  jobIds: readonly string[],
): Promise<{ readonly state: number; readonly count: number }[]> {
  if (jobIds.length === 0) return [];
  return tx.execute<{ state: number; count: number }>(sql`
    select coalesce(q.${q.state}, l.${a.state})::int as state, count(*)::int as count
    from unnest(${writeArray(jobIds)}::uuid[]) i(id)
    left join ${jobQueue} q on q.${q.orgId} = ${orgId}::uuid and q.${q.jobId} = i.id
    left join lateral (
      select e.${a.state} from ${attempts} e where e.${a.orgId} = ${orgId}::uuid and e.${a.jobId} = i.id
        and q.${q.jobId} is null order by e.${a.attempt} desc limit 1
    ) l on true
    where coalesce(q.${q.state}, l.${a.state}) is not null group by 1 order by 1`);
}
