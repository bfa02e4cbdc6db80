import type { PullRequestState } from "../domain/rules/pull-requests.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, desc, eq, isNull, sql } from "./drizzle.ts";
import { orgs, pullRequests } from "./schema-fleet.ts";
import { gates } from "./schema-routing.ts";
import { type Call, call, names, param, statement } from "./statement.ts";

const pu = names(pullRequests);

const insertPulls = statement(sql`
  insert into ${pullRequests} (${pu.orgId}, ${pu.url}, ${pu.project}, ${pu.jobId}, ${pu.isCounted}, ${pu.workerId})
  select ${param("org")}::uuid, d.url, d.project, d.job, d.counted, d.worker
  from unnest(${param("urls")}::text[], ${param("projects")}::text[], ${param("jobs")}::uuid[],
    ${param("counts")}::boolean[], ${param("workers")}::uuid[]) as d(url, project, job, counted, worker)
  on conflict do nothing
  returning ${pu.project} as project, ${pu.isCounted} as counted`);

/** A pull request that a result named. */
export interface NewPullRequest {
  /** In its one form. */
  readonly url: string;
  readonly project: string;
  readonly jobId: string;
  /** Whose result named it. */
  readonly workerId: string;
  /** Against the cap of its project, while it is open. */
  readonly isCounted: boolean;
}

/**
 * Keeps pull requests that results named; a URL counts once. Returns (project, counted) of those that are new. For a
 * transaction that has locked the gates of their projects.
 */
export function insertPullRequests(org: string, rows: readonly NewPullRequest[]): Call {
  // One order everywhere: two flushes that name the same ones wait, and never for each other.
  const sorted = [...rows].sort((a, b) => (a.url < b.url ? -1 : 1));
  return call(insertPulls, {
    org,
    urls: sorted.map((row) => row.url),
    projects: sorted.map((row) => row.project),
    jobs: sorted.map((row) => row.jobId),
    counts: sorted.map((row) => row.isCounted),
    workers: sorted.map((row) => row.workerId),
  });
}

const columns = {
  url: pullRequests.url,
  project: pullRequests.project,
  jobId: pullRequests.jobId,
  isOpen: pullRequests.isOpen,
  isMerged: pullRequests.isMerged,
  isCounted: pullRequests.isCounted,
  createdAt: pullRequests.createdAt,
  changedAt: pullRequests.changedAt,
  saidAt: pullRequests.saidAt,
  author: pullRequests.author,
};

/** A pull request as it is kept. */
export interface PullRequestRow {
  readonly url: string;
  readonly project: string;
  readonly jobId: string;
  readonly isOpen: boolean;
  readonly isMerged: boolean;
  readonly isCounted: boolean;
  readonly createdAt: Date;
  readonly changedAt: Date;
  /** When GitHub last said so in an event, by its clock; null: never. */
  readonly saidAt: Date | null;
  /** The login at GitHub of who opened it; null: nobody said so yet. */
  readonly author: string | null;
}

/** A pull request by its URL, without a lock; null when no result has named it. */
export async function readPullRequest(tx: Tx, orgId: string, url: string): Promise<PullRequestRow | null> {
  const [row] = await tx.select(columns).from(pullRequests).where(at(orgId, url));
  return row ?? null;
}

/**
 * Locks a pull request and the gate of its project, if it has one; none comes before the commit. In the order org,
 * gate, pull request, as everybody does. Returns the pull request as it is now.
 */
export async function lockPullRequest(
  tx: Tx,
  orgId: string,
  { project, url }: { readonly project: string; readonly url: string },
): Promise<PullRequestRow | null> {
  await tx.select({ name: orgs.name }).from(orgs).where(eq(orgs.orgId, orgId)).for("share");
  await tx.select({ key: gates.key }).from(gates).where(gateOf(orgId, project)).for("update");
  const [row] = await tx.select(columns).from(pullRequests).where(at(orgId, url)).for("update");
  return row ?? null;
}

/** Writes where a pull request stands, and takes or frees `places` under the cap of its project. Both are locked. */
export async function updatePullRequest(
  tx: Tx,
  orgId: string,
  { project, url }: { readonly project: string; readonly url: string },
  change: { readonly state: PullRequestState; readonly saidAt: Date | null; readonly places: number },
): Promise<PullRequestRow> {
  const { state, saidAt, places } = change;
  if (places !== 0) {
    await tx
      .update(gates)
      .set({ used: sql`${gates.used} + ${places}::int` })
      .where(gateOf(orgId, project));
  }
  const [row] = await tx
    .update(pullRequests)
    .set({
      isOpen: state === "open",
      isMerged: state === "merged",
      changedAt: now,
      ...(saidAt && { saidAt }),
    })
    .where(at(orgId, url))
    .returning(columns);
  if (row === undefined) throw new Error("a locked pull request is gone");
  return row;
}

/** Notes who opened it, unless that is known; answers whether it was not. */
export async function noteAuthor(tx: Tx, orgId: string, url: string, author: string): Promise<boolean> {
  const rows = await tx
    .update(pullRequests)
    .set({ author })
    .where(and(at(orgId, url), isNull(pullRequests.author)))
    .returning({ url: pullRequests.url });
  return rows.length > 0;
}

/** Notes when GitHub last said what is known. The row is locked. */
export async function noteSaidAt(tx: Tx, orgId: string, url: string, saidAt: Date): Promise<void> {
  await tx.update(pullRequests).set({ saidAt }).where(at(orgId, url));
}

/** A place in the list of pull requests. */
export interface PullRequestPosition {
  /** To the microsecond, as text. */
  readonly createdAt: string;
  readonly url: string;
}

/** Pull requests, newest first, after a place; null is no condition. */
export function readPullRequests(
  tx: Tx,
  orgId: string,
  selection: {
    readonly project: string | null;
    readonly state: PullRequestState | null;
    readonly after: PullRequestPosition | null;
    readonly limit: number;
  },
) {
  const { project, state, after, limit } = selection;
  return tx
    .select({
      ...columns,
      position: sql<string>`to_char(${pullRequests.createdAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    })
    .from(pullRequests)
    .where(
      and(
        eq(pullRequests.orgId, orgId),
        project === null ? undefined : eq(pullRequests.project, project),
        state === null ? undefined : eq(pullRequests.isOpen, state === "open"),
        state === null || state === "open" ? undefined : eq(pullRequests.isMerged, state === "merged"),
        after === null
          ? undefined
          : sql`${pullRequests.createdAt} <= ${after.createdAt}::timestamptz
              and (${pullRequests.createdAt} < ${after.createdAt}::timestamptz or ${pullRequests.url} > ${after.url})`,
      ),
    )
    .orderBy(desc(pullRequests.createdAt), pullRequests.url)
    .limit(limit);
}

function at(orgId: string, url: string) {
  return and(eq(pullRequests.orgId, orgId), eq(pullRequests.url, url));
}

function gateOf(orgId: string, project: string) {
  return and(eq(gates.orgId, orgId), eq(gates.key, `project:${project}`));
}
