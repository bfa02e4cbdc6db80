import { type AuditRow, readAuditEntries } from "../store/audit.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageRows,
  readPageToken,
  uuidForm,
  writePageToken,
} from "./pages.ts";

/** An entry of the audit log as it is shown. */
export type AuditEntryView = Omit<AuditRow, "orgId">;

/** Which entries are asked for; empty and null are no condition. */
export interface AuditQuery extends PageRequest {
  /** `me` is the caller. */
  readonly actor: string;
  /** A verb, or, ending in `.`, how verbs begin. */
  readonly action: string;
  readonly target: string;
  readonly since: Date | null;
  readonly until: Date | null;
}

/**
 * Lists what principals changed, newest first. A page may hold fewer entries than were asked for, and say where to go
 * on: where matches are rare.
 */
export async function listAuditEntries(
  c: Pick<Coordinator, "db">,
  caller: Caller,
  { pageSize, pageToken, ...query }: AuditQuery,
): Promise<Page<AuditEntryView>> {
  const { action, target, since, until } = query;
  refuseLong({ actor: query.actor, action, target });
  const { orgId } = caller;
  const actor = query.actor === "me" ? caller.actor : query.actor;
  const identity: ListIdentity = { list: "audit", orgId, filter: [actor, action, target, since, until] };
  const [before = null] = readPageToken(identity, { pageSize, pageToken }, [uuidForm]) ?? [];
  const limit = pageRows({ pageSize, pageToken });
  // Text with NUL is refused by the database, and is in no entry.
  if ([actor, action, target].some((text) => text.includes("\0"))) return { items: [], nextPageToken: "" };
  const isPrefix = action.endsWith(".");
  const filter = {
    actor: orNull(actor),
    action: isPrefix ? null : orNull(action),
    actionPrefix: isPrefix ? action : null,
    target: orNull(target),
    since,
    until,
  };
  const { entries, next } = await readOrgByIndex(c.db.app, orgId, (tx) =>
    readAuditEntries(tx, orgId, filter, { before, limit }),
  );
  return {
    items: entries.map(({ orgId: _, ...entry }) => entry),
    nextPageToken: next === null ? "" : writePageToken(identity, [next]),
  };
}

function refuseLong(texts: Readonly<Record<string, string>>): void {
  const violations = Object.entries(texts).flatMap(([field, text]): Violation[] =>
    text.length > 500 ? [{ field, message: "must have at most 500 characters" }] : [],
  );
  if (violations.length > 0) throw invalidArgument(violations);
}

function orNull(text: string): string | null {
  return text === "" ? null : text;
}
