import { readAuthorsPulls, readOwnersPulls } from "../store/attribution.ts";
import { orgTxOf } from "../store/database.ts";
import { readOrg } from "../store/snapshot.ts";
import { call, type OrgTx } from "../store/statement.ts";
import type { Caller } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { nameViolations, projectRule } from "./rules/texts.ts";
import { rowsOf, type StatsContext, timeViolations, windowOf } from "./stats.ts";

/** What one contributor did for one project. */
export interface AttributionView {
  /** Empty: nobody's. */
  readonly contributor: string;
  /** Empty: none. */
  readonly project: string;
  readonly succeeded: number;
  readonly failed: number;
  readonly runSeconds: number;
  readonly pullRequests: number;
  readonly merged: number;
}

/** Whose work is asked for, and of when. */
export interface AttributionRequest extends PageRequest {
  /** By the author of the pull request; else by the owner of the worker. */
  readonly isByAuthor: boolean;
  /** Null: of all. */
  readonly project: string | null;
  /** Null: 30 days before the end. */
  readonly from: Date | null;
  /** Null: now. */
  readonly until: Date | null;
}

interface Window {
  readonly project: string | null;
  readonly from: Date;
  readonly until: Date;
}

const monthMs = 30 * 86_400_000;

/** Lists who did how much for which project, by contributor and project. */
export async function listAttribution(
  c: StatsContext,
  caller: Caller,
  { isByAuthor, project, from, until, ...page }: AttributionRequest,
): Promise<Page<AttributionView>> {
  const violations = timeViolations({ from, until });
  if (project !== null) violations.push(...nameViolations("project", project, projectRule));
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const filter = [isByAuthor, project, from?.getTime() ?? null, until?.getTime() ?? null];
  const identity: ListIdentity = { list: "attribution", orgId, filter };
  const limit = pageRows(page);
  const after = readPageToken(identity, page, [/^/, /^/]);
  const rows = await readOrg(c.db.app, orgId, async (tx) => {
    const own = orgTxOf(tx, orgId);
    const window = { project, ...(await windowOf(c, own, { from, until }, monthMs)) };
    return isByAuthor ? await ofAuthors(own, window) : await ofOwners(own, window);
  });
  const position = (row: AttributionView) => [row.contributor, row.project];
  const isAfter = (row: AttributionView) => after === null || compare(position(row), after) > 0;
  const sorted = rows.filter(isAfter).sort((a, b) => compare(position(a), position(b)));
  return pageOf(sorted.slice(0, limit + 1), limit, identity, position, (row) => row);
}

async function ofOwners(own: OrgTx, window: Window): Promise<AttributionView[]> {
  const stepMs = window.until.getTime() - window.from.getTime() + 1;
  const done = await rowsOf(own, { by: "owner", values: null, ...window, stepMs });
  const pulls = await own.run(call(readOwnersPulls, parametersOf(own, window)));
  const all = new Map<string, AttributionView>();
  for (const { value: contributor, project, ...figures } of done) {
    const { succeeded, failed, timedOut, lost, runSeconds } = figures;
    all.set(keyOf(contributor, project), {
      ...{ contributor, project, succeeded, failed: failed + timedOut + lost, runSeconds },
      ...{ pullRequests: 0, merged: 0 },
    });
  }
  for (const row of pulls) {
    const [contributor, project] = [String(row["contributor"]), String(row["project"])];
    const known = all.get(keyOf(contributor, project));
    all.set(keyOf(contributor, project), {
      ...(known ?? { contributor, project, succeeded: 0, failed: 0, runSeconds: 0 }),
      ...{ pullRequests: Number(row["pulls"]), merged: Number(row["merged"]) },
    });
  }
  return [...all.values()];
}

async function ofAuthors(own: OrgTx, window: Window): Promise<AttributionView[]> {
  const rows = await own.run(call(readAuthorsPulls, parametersOf(own, window)));
  return rows.map((row) => ({
    ...{ contributor: String(row["contributor"]), project: String(row["project"]) },
    ...{ succeeded: Number(row["jobs"]), failed: 0, runSeconds: Number(row["seconds"]) },
    ...{ pullRequests: Number(row["pulls"]), merged: Number(row["merged"]) },
  }));
}

function parametersOf(own: OrgTx, { project, from, until }: Window) {
  return { org: own.orgId, project, from: from.getTime() / 1_000, until: until.getTime() / 1_000 };
}

const keyOf = (contributor: string, project: string) => JSON.stringify([contributor, project]);

function compare(a: readonly string[], b: readonly string[]): number {
  for (const [n, text] of a.entries()) {
    const other = b[n] ?? "";
    if (text !== other) return text < other ? -1 : 1;
  }
  return 0;
}
