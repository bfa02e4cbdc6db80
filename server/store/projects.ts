import type { Tx } from "./database.ts";
import { and, asc, eq, gt, inArray, sql } from "./drizzle.ts";
import { projects, pullRequests } from "./schema-fleet.ts";
import { gates } from "./schema-routing.ts";

/** Makes a project, or changes it; null is no cap, and the repository of its name. */
export async function upsertProject(
  tx: Tx,
  row: {
    readonly orgId: string;
    readonly name: string;
    readonly maxOpenPrs: number | null;
    readonly repository: string | null;
  },
): Promise<void> {
  const { maxOpenPrs, repository } = row;
  await tx
    .insert(projects)
    .values(row)
    .onConflictDoUpdate({ target: [projects.orgId, projects.name], set: { maxOpenPrs, repository } });
}

/** Removes a project; false when there is none. */
export async function deleteProjectRow(tx: Tx, orgId: string, name: string): Promise<boolean> {
  const deleted = await tx
    .delete(projects)
    .where(and(eq(projects.orgId, orgId), eq(projects.name, name)))
    .returning({ name: projects.name });
  return deleted.length > 0;
}

/** The names of the org's projects in order: the first `limit`, or those of a list that exist. */
export async function readProjectNames(
  tx: Tx,
  orgId: string,
  selection: { readonly limit: number } | { readonly among: readonly string[] },
): Promise<string[]> {
  const rows = await tx
    .select({ name: projects.name })
    .from(projects)
    .where(
      and(
        eq(projects.orgId, orgId),
        "among" in selection ? inArray(projects.name, [...selection.among]) : undefined,
      ),
    )
    .orderBy(asc(projects.name))
    .limit("among" in selection ? selection.among.length : selection.limit);
  return rows.map((row) => row.name);
}

/**
 * Projects by name, with the number of their open pull requests that count, and of the leases that take places under
 * their caps: one of them, or a page.
 */
export function readProjects(
  tx: Tx,
  orgId: string,
  selection: { readonly name: string } | { readonly afterName: string | null; readonly limit: number },
) {
  const open = tx
    .select({ openPrs: sql<number>`count(*)::int`.as("open_prs") })
    .from(pullRequests)
    .where(
      and(
        eq(pullRequests.orgId, orgId),
        eq(pullRequests.project, projects.name),
        // As in the index of the open ones.
        sql`${pullRequests.isOpen} and ${pullRequests.isCounted}`,
      ),
    )
    .as("open");
  const isOne = "name" in selection;
  const after = isOne || selection.afterName === null ? undefined : gt(projects.name, selection.afterName);
  return tx
    .select({
      name: projects.name,
      maxOpenPrs: projects.maxOpenPrs,
      repository: projects.repository,
      openPrs: open.openPrs,
      leased: sql<number>`greatest(0, coalesce(${gates.used}, 0) - ${open.openPrs})::int`,
    })
    .from(projects)
    .innerJoinLateral(open, sql`true`)
    .leftJoin(gates, and(eq(gates.orgId, orgId), eq(gates.key, sql`'project:' || ${projects.name}`)))
    .where(and(eq(projects.orgId, orgId), isOne ? eq(projects.name, selection.name) : after))
    .orderBy(asc(projects.name))
    .limit(isOne ? 1 : selection.limit);
}

/** A project with its account of pull requests. */
export type ProjectRow = Awaited<ReturnType<typeof readProjects>>[number];
