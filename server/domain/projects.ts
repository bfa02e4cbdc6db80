import { inOrg, orgTxOf } from "../store/database.ts";
import { dropGate, putGate } from "../store/gates.ts";
import { anyJob, type JobFilter, readJobIds } from "../store/job-lists.ts";
import { deleteProjectRow, type ProjectRow, readProjects, upsertProject } from "../store/projects.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { isTerminal, JobState } from "./rules/states.ts";
import { nameViolations, projectRule, repositoryRule, textViolations } from "./rules/texts.ts";
import { tellEvent } from "./told-events.ts";

/** A project: a repository with a cap on open pull requests. */
export interface ProjectView {
  readonly name: string;
  /** Null: no cap. */
  readonly maxOpenPrs: number | null;
  /** `owner/name` at GitHub; null: neither given nor in the form of its name. */
  readonly repository: string | null;
  /** Open pull requests that count against the cap. */
  readonly openPrs: number;
  /** Leases that take places under the cap; 0 without one. */
  readonly leased: number;
}

/** What is asked of a project. */
export interface ProjectRequest {
  readonly name: string;
  /** 1 to 10,000; null for no cap. */
  readonly maxOpenPrs: number | null;
  /** Null: its name, when that is an `owner/name`. */
  readonly repository: string | null;
}

/** Creates a project, or changes its cap and its repository. The cap holds from the commit. */
export async function putProject(
  c: Coordinator,
  caller: Caller,
  { name, maxOpenPrs, repository }: ProjectRequest,
): Promise<ProjectView> {
  const violations = [
    ...nameViolations("project.name", name, projectRule),
    ...capViolations("project.maxOpenPrs", maxOpenPrs),
    ...(repository === null ? [] : nameViolations("project.repository", repository, repositoryRule)),
  ];
  if (violations.length > 0) throw refusedProject(violations, maxOpenPrs);
  const { orgId } = caller;
  const view = await inOrg(c.db.app, orgId, async (tx) => {
    await putGate(orgTxOf(tx, orgId), gateOf(name), { maxUsed: maxOpenPrs });
    const [before] = await readProjects(tx, orgId, { name });
    await upsertProject(tx, { orgId, name, maxOpenPrs, repository });
    await audit(tx, c, caller, {
      action: "project.put",
      target: name,
      details: {
        before: before === undefined ? null : changeable(before),
        after: { maxOpenPrs, repository },
        isNew: before === undefined,
      },
    });
    await tellEvent(tx, c, orgId, {
      ...{ type: "project.changed", project: name },
      data: { maxOpenPrs, isNew: before === undefined },
    });
    const [after] = await readProjects(tx, orgId, { name });
    if (after === undefined) throw new Error("the project that was put is not there");
    return projectView(after);
  });
  c.projects.forget(orgId);
  c.wakes.ready(orgId);
  return view;
}

/** Reads a project. */
export async function getProject(
  c: Coordinator,
  caller: Caller,
  { name }: { readonly name: string },
): Promise<ProjectView> {
  refuseName(name);
  const [row] = await inOrg(c.db.app, caller.orgId, (tx) => readProjects(tx, caller.orgId, { name }));
  if (row === undefined) throw notFound("PROJECT_NOT_FOUND", name);
  return projectView(row);
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
  return pageOf(rows, limit, identity, (row) => [row.name], projectView);
}

/**
 * Deletes a project and its cap; its jobs and pull requests keep its name.
 *
 * @returns how many of its jobs have not ended: at most 10,000, of the newest 100,000 live jobs of the org.
 */
export async function deleteProject(
  c: Coordinator,
  caller: Caller,
  { name, reason }: { readonly name: string; readonly reason: string },
): Promise<{ readonly waitingJobs: number }> {
  refuseName(name, textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }));
  const { orgId } = caller;
  const answer = await inOrg(c.db.app, orgId, async (tx) => {
    const gate = await dropGate(orgTxOf(tx, orgId), gateOf(name));
    if (!(await deleteProjectRow(tx, orgId, name))) throw notFound("PROJECT_NOT_FOUND", name);
    const { ids } = await readJobIds(
      tx,
      orgId,
      { ...liveJobs, project: name },
      { after: null, limit: 10_000 },
    );
    const waitingJobs = ids.length;
    const details = { maxOpenPrs: gate?.maxUsed ?? null, waitingJobs };
    await audit(tx, c, caller, { action: "project.delete", target: name, reason, details });
    await tellEvent(tx, c, orgId, { type: "project.deleted", project: name, data: { waitingJobs } });
    return { waitingJobs };
  });
  c.projects.forget(orgId);
  c.wakes.ready(orgId);
  return answer;
}

/** The project as it is shown. */
export function projectView({ name, maxOpenPrs, repository, openPrs, leased }: ProjectRow): ProjectView {
  const byName = repositoryRule.form.test(name) ? name : null;
  return { name, maxOpenPrs, repository: repository ?? byName, openPrs, leased };
}

const liveJobs: JobFilter = {
  ...anyJob,
  states: Object.values(JobState).filter((state) => !isTerminal(state)),
};

function gateOf(name: string): string {
  return `project:${name}`;
}

function changeable({ maxOpenPrs, repository }: ProjectRow) {
  return { maxOpenPrs, repository };
}

function capViolations(field: string, cap: number | null): Violation[] {
  if (cap === null || (Number.isInteger(cap) && cap >= 1 && cap <= 10_000)) return [];
  return [{ field, message: "must be a whole number from 1 to 10000" }];
}

function refusedProject(violations: readonly Violation[], cap: number | null): DomainError {
  const refused = invalidArgument(violations);
  if (cap !== 0) return refused;
  // Who wants nothing to start gets it so, and sees it where pauses are seen.
  const suggestion = "To hold the jobs of a project back, pause their queue with `muster queue pause`.";
  return new DomainError("VALIDATION_FAILED", { message: refused.message, violations, suggestion });
}

function refuseName(name: string, others: readonly Violation[] = []): void {
  const violations = [...nameViolations("name", name, projectRule), ...others];
  if (violations.length > 0) throw invalidArgument(violations);
}
