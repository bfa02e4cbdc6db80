import type { Tx } from "./database.ts";
import { and, asc, eq, gt, sql } from "./drizzle.ts";
import { projects, pullRequests } from "./schema-fleet.ts";

/** Makes a project, or changes its cap; null is no cap. */
export async function upsertProject(
  tx: Tx,
  row: { readonly orgId: string; readonly name: string; readonly maxOpenPrs: number | null },
): Promise<void> {
  await tx
    .insert(projects)
    .values(row)
    .onConflictDoUpdate({
      target: [projects.orgId, projects.name],
      set: { maxOpenPrs: row.maxOpenPrs },
    });
}

/** Projects by name, with the number of their open pull requests: one of them, or a page. */
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
        sql`${pullRequests.isOpen}`,
      ),
    )
    .as("open");
  const isOne = "name" in selection;
  const after = isOne || selection.afterName === null ? undefined : gt(projects.name, selection.afterName);
  return tx
    .select({ name: projects.name, maxOpenPrs: projects.maxOpenPrs, openPrs: open.openPrs })
    .from(projects)
    .innerJoinLateral(open, sql`true`)
    .where(and(eq(projects.orgId, orgId), isOne ? eq(projects.name, selection.name) : after))
    .orderBy(asc(projects.name))
    .limit(isOne ? 1 : selection.limit);
}

/** A project with its account of pull requests. */
export type ProjectRow = Awaited<ReturnType<typeof readProjects>>[number];
