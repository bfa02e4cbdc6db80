import { inOrg } from "../store/database.ts";
import {
  lockPullRequest,
  noteAuthor,
  noteSaidAt,
  type PullRequestRow,
  readPullRequest,
  readPullRequests,
  updatePullRequest,
} from "../store/pull-requests.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageRows,
  readPageToken,
  writePageToken,
} from "./pages.ts";
import { type PullRequestState, pullRequestUrl } from "./rules/pull-requests.ts";
import { nameViolations, projectRule, textViolations } from "./rules/texts.ts";

/** A pull request that a result named. */
export interface PullRequestView {
  readonly url: string;
  readonly project: string;
  /** The job whose result named it first. */
  readonly jobId: string;
  readonly state: PullRequestState;
  /** Against the cap of its project, while it is open. */
  readonly isCounted: boolean;
  readonly createdAt: Date;
  readonly changedAt: Date;
  /** The login at GitHub of who opened it; null: nobody said so yet. */
  readonly author: string | null;
}

/** The parts of a coordinator that verbs about pull requests need. */
export type PullRequestContext = Pick<Coordinator, "db" | "newId" | "wakes">;

/** Lists pull requests, newest first; null is no condition. */
export async function listPullRequests(
  c: PullRequestContext,
  caller: Caller,
  request: PageRequest & { readonly project: string | null; readonly state: PullRequestState | null },
): Promise<Page<PullRequestView>> {
  const { project, state, ...page } = request;
  const { orgId } = caller;
  const violations = project === null ? [] : nameViolations("project", project, projectRule);
  if (violations.length > 0) throw invalidArgument(violations);
  const identity: ListIdentity = { list: "pull-requests", orgId, filter: [project, state] };
  const limit = pageRows(page);
  const [createdAt, url] = readPageToken(identity, page, [timeForm, /^https:/]) ?? [];
  const after = createdAt === undefined || url === undefined ? null : { createdAt, url };
  const rows = await readOrg(c.db.app, orgId, (tx) =>
    readPullRequests(tx, orgId, { project, state, after, limit: limit + 1 }),
  );
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(pullRequestView),
    nextPageToken:
      rows.length > limit && last !== undefined ? writePageToken(identity, [last.position, last.url]) : "",
  };
}

/**
 * Says where a pull request stands. One that is no longer open frees its place under the cap of its project; one that
 * is open again takes one, above the cap too, because the world decides. What is known already changes nothing, nor
 * does an event that is older than the newest one (`saidAt`, by GitHub's clock): they may come in any order.
 */
export async function setPullRequestState(
  c: PullRequestContext,
  caller: Caller,
  said: {
    readonly url: string;
    readonly state: PullRequestState;
    readonly reason: string;
    readonly saidAt?: Date | null;
    /** Null: not said. What is known stays. */
    readonly author?: string | null;
  },
): Promise<{ readonly pullRequest: PullRequestView; readonly isChanged: boolean }> {
  const { url, state, reason, saidAt = null, author = null } = said;
  const form = pullRequestUrl(url);
  const violations = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (author !== null) violations.push(...textViolations("author", author, { min: 1, max: 100 }));
  if (form === null) violations.unshift({ field: "url", message: "must be the URL of a pull request" });
  if (form === null || violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const { row, isChanged } = await inOrg(c.db.app, orgId, async (tx) => {
    const seen = await readPullRequest(tx, orgId, form);
    if (seen === null) throw notFound("PULL_REQUEST_NOT_FOUND", form);
    const isSame = stateOf(seen) === state;
    if (isSame && saidAt === null && (author === null || seen.author !== null)) {
      return { row: seen, isChanged: false };
    }
    const locked = await lockPullRequest(tx, orgId, seen);
    if (locked === null) throw notFound("PULL_REQUEST_NOT_FOUND", form);
    const isNewAuthor = author !== null && (await noteAuthor(tx, orgId, form, author));
    const before = isNewAuthor ? { ...locked, author } : locked;
    const isOld = saidAt !== null && before.saidAt !== null && saidAt < before.saidAt;
    if (isOld || stateOf(before) === state) {
      if (!isOld && saidAt !== null) await noteSaidAt(tx, orgId, form, saidAt);
      if (isNewAuthor) {
        const details = { project: before.project, author };
        await audit(tx, c, caller, { action: "pull_request.set_author", target: form, reason, details });
      }
      return { row: before, isChanged: false };
    }
    const places = before.isCounted ? Number(state === "open") - Number(before.isOpen) : 0;
    const after = await updatePullRequest(tx, orgId, before, { state, saidAt, places });
    const { project } = before;
    await audit(tx, c, caller, {
      action: "pull_request.set_state",
      target: form,
      reason,
      details: { project, before: stateOf(before), after: state, ...(isNewAuthor ? { author } : {}) },
    });
    return { row: after, isChanged: true };
  });
  if (isChanged && state !== "open") c.wakes.ready(orgId);
  return { pullRequest: pullRequestView(row), isChanged };
}

const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

function stateOf({ isOpen, isMerged }: Pick<PullRequestRow, "isOpen" | "isMerged">): PullRequestState {
  if (isOpen) return "open";
  return isMerged ? "merged" : "closed";
}

function pullRequestView(row: PullRequestRow): PullRequestView {
  const { url, project, jobId, isCounted, createdAt, changedAt, author } = row;
  return { url, project, jobId, isCounted, createdAt, changedAt, author, state: stateOf(row) };
}
