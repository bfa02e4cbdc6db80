import { sql } from "./drizzle.ts";
import { workers } from "./schema-fleet.ts";

/** What workers may get nothing for, as the index of such has it. */
export const mayBeHeldBack = sql`(${workers.disabledAt} is not null or ${workers.quarantinedAt} is not null
  or ${workers.approval} = 'pending' or ${workers.hours} is not null or ${workers.maxOpenPrs} is not null)`;

/** A worker is outside of its hours. */
export const isOffHours = sql<boolean>`(case when ${workers.hours} is null then false
  else muster.is_off_hours(${workers.hours}, muster.muster_clock()) end)`;

/** Open pull requests of a worker's jobs; 0 where they are not limited. */
export const openPrs = sql<number>`(case when ${workers.maxOpenPrs} is null then 0
  else muster.open_prs(${workers.orgId}, ${workers.workerId}) end)`;

/** A worker is quarantined, waits for approval, is outside of its hours, or has as many open pull requests as it may. */
export const getsNothing = sql<boolean>`(${workers.quarantinedAt} is not null or muster.gets_nothing(${workers.orgId},
  ${workers.workerId}, ${workers.approval}, ${workers.hours}, ${workers.maxOpenPrs}))`;
