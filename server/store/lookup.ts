import type { AnyColumn, SQL } from "drizzle-orm";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, sql } from "./drizzle.ts";
import { shapeNames as s, tallyNames as t } from "./names.ts";
import { batches, jobKeys, jobs, shapes, tallies } from "./schema.ts";
import { apiKeys, projects, settings, workers } from "./schema-fleet.ts";
import { sessions } from "./schema-routing.ts";
import { names } from "./statement.ts";

const w = names(workers);
const st = names(settings);

/** What was found: a uuid or a name, and what it is called. */
export interface FoundRow {
  readonly id: string;
  readonly label: string;
}

/** What ids are looked for: those of a range, or those that end so; see `IdPart`. */
export interface WantedIds {
  readonly range: { readonly low: string; readonly high: string } | null;
  readonly ending: string | null;
}

/** Of how many jobs, or batches, the ends of ids are looked at: the newest. */
export const mostEndings = 10_000;

/** The job of an external id. */
export function findJobByExternalId(tx: Tx, orgId: string, externalId: string): Promise<FoundRow[]> {
  return tx
    .select({ id: jobs.jobId, label: jobLabel })
    .from(jobKeys)
    .innerJoin(jobs, and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobKeys.targetId)))
    .where(and(eq(jobKeys.orgId, orgId), eq(jobKeys.type, "external"), eq(jobKeys.key, externalId)));
}

/** Jobs whose ids lie in a range, the newest first: along the primary key. */
export function findJobsInRange(tx: Tx, orgId: string, range: WantedIds["range"], limit: number) {
  return tx
    .select({ id: jobs.jobId, label: jobLabel })
    .from(jobs)
    .where(and(eq(jobs.orgId, orgId), inRange(jobs.jobId, range)))
    .orderBy(desc(jobs.jobId))
    .limit(limit);
}

/** Jobs whose ids end so, among the newest ones. */
export function findJobsByEnding(tx: Tx, orgId: string, ending: string, limit: number) {
  const latest = tx
    .select({ jobId: jobs.jobId, kind: jobs.kind, title: jobs.title })
    .from(jobs)
    .where(eq(jobs.orgId, orgId))
    .orderBy(desc(jobs.jobId))
    .limit(mostEndings)
    .as("latest");
  return tx
    .select({ id: latest.jobId, label: labelOf(latest.kind, latest.title) })
    .from(latest)
    .where(endsSo(latest.jobId, ending))
    .orderBy(desc(latest.jobId))
    .limit(limit);
}

/** Batches whose ids lie in a range, the newest first. */
export function findBatchesInRange(tx: Tx, orgId: string, range: WantedIds["range"], limit: number) {
  return tx
    .select({ id: batches.batchId, label: batches.title })
    .from(batches)
    .where(and(eq(batches.orgId, orgId), inRange(batches.batchId, range)))
    .orderBy(desc(batches.batchId))
    .limit(limit);
}

/** Batches whose ids end so, among the newest ones. */
export function findBatchesByEnding(tx: Tx, orgId: string, ending: string, limit: number) {
  const latest = tx
    .select({ batchId: batches.batchId, title: batches.title })
    .from(batches)
    .where(eq(batches.orgId, orgId))
    .orderBy(desc(batches.batchId))
    .limit(mostEndings)
    .as("latest");
  return tx
    .select({ id: latest.batchId, label: latest.title })
    .from(latest)
    .where(endsSo(latest.batchId, ending))
    .orderBy(desc(latest.batchId))
    .limit(limit);
}

/** Workers by the beginning of their name, or by a part of their id; by name. */
export function findWorkers(
  tx: Tx,
  orgId: string,
  text: string,
  { range, ending }: WantedIds,
  limit: number,
) {
  return tx
    .select({ id: workers.workerId, label: workers.name })
    .from(workers)
    .where(
      and(
        eq(workers.orgId, orgId),
        sql`(${begins(workers.name, text)} or ${range === null ? sql`false` : inRange(workers.workerId, range)}
          or ${ending === null ? sql`false` : endsSo(workers.workerId, ending)})`,
      ),
    )
    .orderBy(asc(workers.name))
    .limit(limit);
}

/** Sessions by the beginning or the end of their id, or the beginning of their label; by id. */
export function findSessions(tx: Tx, orgId: string, text: string, limit: number) {
  return tx
    .select({ id: sessions.sessionId, label: sessions.label })
    .from(sessions)
    .where(
      and(
        eq(sessions.orgId, orgId),
        sql`(${begins(sessions.sessionId, text)} or right(${sessions.sessionId}, length(${text}::text)) = ${text}::text
          or ${begins(sessions.label, text)})`,
      ),
    )
    .orderBy(asc(sessions.sessionId))
    .limit(limit);
}

/** Projects by the beginning of their name. */
export function findProjects(tx: Tx, orgId: string, text: string, limit: number) {
  return tx
    .select({ id: projects.name, label: sql<string>`''` })
    .from(projects)
    .where(and(eq(projects.orgId, orgId), begins(projects.name, text)))
    .orderBy(asc(projects.name))
    .limit(limit);
}

/** Valid keys by the beginning of their id or name. */
export function findKeys(tx: Tx, orgId: string, text: string, limit: number) {
  return tx
    .select({ id: apiKeys.keyId, label: apiKeys.name })
    .from(apiKeys)
    .where(
      and(
        eq(apiKeys.orgId, orgId),
        sql`${apiKeys.revokedAt} is null and (${apiKeys.expiresAt} is null or ${apiKeys.expiresAt} > ${now})`,
        sql`(${begins(apiKeys.keyId, text)} or ${begins(apiKeys.name, text)})`,
      ),
    )
    .orderBy(asc(apiKeys.name), asc(apiKeys.keyId))
    .limit(limit);
}

/** Names of queues, kinds or skills that jobs of late, workers or settings give, by their beginning. */
export async function findNames(
  tx: Tx,
  orgId: string,
  type: keyof typeof namesOf,
  text: string,
  limit: number,
): Promise<FoundRow[]> {
  const rows = await tx.execute(sql`select distinct named.name from (${namesOf[type](orgId)}) named
    where starts_with(named.name, ${text}::text) order by named.name limit ${limit}`);
  return rows.map((row) => ({ id: String(row["name"]), label: "" }));
}

const ofSettings = (orgId: string, scope: string) =>
  sql`select x.${st.name} from ${settings} x where x.${st.orgId} = ${orgId}::uuid and x.${st.scope} = ${scope}`;
const ofShapes = (orgId: string, name: SQL) =>
  sql`select ${name} as name from ${shapes} h where h.${s.orgId} = ${orgId}::uuid`;
const ofWorkers = (orgId: string, name: SQL) =>
  sql`select ${name} as name from ${workers} x where x.${w.orgId} = ${orgId}::uuid`;

const namesOf = {
  queue: (
    orgId: string,
  ) => sql`select x.${t.queue} as name from ${tallies} x where x.${t.orgId} = ${orgId}::uuid
    union all ${ofShapes(orgId, sql`h.${s.queue}`)} union all ${ofSettings(orgId, "queue")}`,
  kind: (orgId: string) => sql`${ofShapes(orgId, sql`h.${s.kind}`)}
    union all ${ofWorkers(orgId, sql`unnest(x.${w.kinds})`)} union all ${ofSettings(orgId, "kind")}`,
  skill: (orgId: string) => sql`${ofShapes(orgId, sql`unnest(h.${s.skills})`)}
    union all ${ofWorkers(orgId, sql`jsonb_array_elements(x.${w.skills}) ->> 'name'`)}`,
};

const jobLabel = labelOf(jobs.kind, jobs.title);

function labelOf(kind: AnyColumn, title: AnyColumn): SQL<string> {
  return sql<string>`${kind} || case when ${title} = '' then '' else ': ' || ${title} end`;
}

function inRange(id: AnyColumn, range: WantedIds["range"]): SQL | undefined {
  return range === null ? undefined : sql`${id} between ${range.low}::uuid and ${range.high}::uuid`;
}

function endsSo(id: AnyColumn, ending: string): SQL {
  return sql`replace(${id}::text, '-', '') ~ ${ending}`;
}

function begins(name: AnyColumn, text: string): SQL {
  return sql`starts_with(${name}, ${text}::text)`;
}
