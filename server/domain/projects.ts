import { inOrg } from "../store/database.ts";
import { readProjects, upsertProject } from "../store/projects.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { nameViolations, projectRule } from "./rules/texts.ts";

/** A project: a repository with a cap on open pull requests. */
export interface ProjectView {
  readonly name: string;
  /** Null: no cap. */
  readonly maxOpenPrs: number | null;
  readonly openPrs: number;
}

/** Creates a project, or changes its cap (0 to 10,000; null for none). */
export async function putProject(
  c: Coordinator,
  caller: Caller,
  { name, maxOpenPrs }: { readonly name: string; readonly maxOpenPrs: number | null },
): Promise<ProjectView> {
  const violations = nameViolations("project.name", name, projectRule);
  const isCap =
    maxOpenPrs === null || (Number.isInteger(maxOpenPrs) && maxOpenPrs >= 0 && maxOpenPrs <= 10_000);
  if (!isCap)
    violations.push({ field: "project.maxOpenPrs", message: "must be a whole number from 0 to 10000" });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const [before] = await readProjects(tx, orgId, { name });
    await upsertProject(tx, { orgId, name, maxOpenPrs });
    await audit(tx, c, caller, {
      action: "project.put",
      target: name,
      details: { before: before?.maxOpenPrs ?? null, after: maxOpenPrs, isNew: before === undefined },
    });
    return { name, maxOpenPrs, openPrs: before?.openPrs ?? 0 };
  });
}

/** Lists projects by name. */
export async function listProjects(
  c: Coordinator,
  caller: Caller,
  page: PageRequest,
): Promise<Page<ProjectView>> {
  const identity: ListIdentity = { list: "projects", orgId: caller.orgId };
  const limit = pageRows(page);
  const [afterName = null] = readPageToken(identity, page, [projectRule.form]) ?? [];
  const rows = await inOrg(c.db.app, caller.orgId, (tx) =>
    readProjects(tx, caller.orgId, { afterName, limit: limit + 1 }),
  );
  return pageOf(
    rows,
    limit,
    identity,
    (row) => [row.name],
    (row) => row,
  );
}
