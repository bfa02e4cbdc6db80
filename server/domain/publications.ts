import { inOrg, type Tx } from "../store/database.ts";
import { transactWithLink } from "../store/links.ts";
import {
  changeSessions,
  deleteSessions,
  hasPublished,
  lockSessions,
  noteContest,
  readKnownSessions,
  readOwnSessions,
  writeLinkedProjects,
  writeSessions,
} from "../store/sessions.ts";
import type { Coordinator } from "./context.ts";
import {
  type Conflict,
  type Published,
  type PublishedSession,
  planPublication,
} from "./rules/publications.ts";

/** What a publication came to. */
export interface PublicationOutcome {
  /** What was not taken over, with what was malformed. */
  readonly conflicts: readonly Conflict[];
  /** The sessions that the worker has now. */
  readonly sessions: readonly (PublishedSession & { readonly isPrimary: boolean })[];
  /** Something is not as it was: who routes jobs must look again. */
  readonly isChanged: boolean;
}

/**
 * Makes what a worker has published what it publishes now; what it does not name any more is withdrawn. In the
 * transaction of its Hello, after the row of its link.
 */
export async function publish(
  tx: Tx,
  orgId: string,
  workerId: string,
  { projects, sessions, refused }: Published,
): Promise<PublicationOutcome> {
  const isEmpty = projects.length + sessions.length === 0;
  if (isEmpty && !(await hasPublished(tx, orgId, workerId))) {
    return { conflicts: refused, sessions: [], isChanged: false };
  }
  await lockSessions(tx, orgId);
  const known = await readKnownSessions(tx, orgId, {
    workerId,
    sessionIds: sessions.map((one) => one.sessionId),
    projects: [...new Set(sessions.flatMap((one) => (one.saysPrimary && one.project ? [one.project] : [])))],
  });
  const plan = planPublication(workerId, sessions, known);
  const isRelinked = await writeLinkedProjects(tx, orgId, workerId, projects);
  await deleteSessions(tx, orgId, plan.freed);
  // Before others become primary: there is one a project, whatever the order.
  await changeSessions(tx, orgId, plan.demoted, "demote");
  await changeSessions(tx, orgId, plan.withdrawn, "withdraw");
  await writeSessions(tx, orgId, workerId, plan.written);
  await noteContest(tx, orgId, workerId, plan.contested);
  const changes = plan.written.length + plan.demoted.length + plan.withdrawn.length;
  return {
    conflicts: [...refused, ...plan.conflicts],
    sessions: plan.kept,
    isChanged: isRelinked || changes > 0,
  };
}

/** Which of some sessions a worker has. */
export function ownSessions(
  c: Pick<Coordinator, "db">,
  orgId: string,
  workerId: string,
  sessionIds: readonly string[],
): Promise<Set<string>> {
  return inOrg(c.db.app, orgId, (tx) => readOwnSessions(tx, orgId, workerId, sessionIds));
}

/**
 * Publishes over a link that stands: what comes over a link that is no longer the worker's changes nothing, and
 * answers null.
 */
export async function changeLinks(
  c: Pick<Coordinator, "db" | "wakes">,
  orgId: string,
  link: { readonly workerId: string; readonly linkEpoch: number },
  published: Published,
): Promise<PublicationOutcome | null> {
  const outcome = await transactWithLink(c.db, orgId, link, (tx) =>
    publish(tx, orgId, link.workerId, published),
  );
  if (outcome?.isChanged) c.wakes.routes(orgId);
  return outcome;
}
