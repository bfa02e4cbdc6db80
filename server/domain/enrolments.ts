import { inOrg } from "../store/database.ts";
import {
  type EnrolmentRow,
  insertEnrolment,
  lockEnrolment,
  readEnrolments,
  revokeEnrolmentRow,
} from "../store/enrolments.ts";
import { readClock } from "../store/explain.ts";
import { revokeKeyRow } from "../store/keys.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { invalidArgument, notFound, type Violation } from "./errors.ts";
import { createKey, distrustKeys, type KeyContext } from "./keys.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { limitViolations, patternViolations } from "./rules/limit-checks.ts";
import { textViolations } from "./rules/texts.ts";
import type { WorkerLimits } from "./rules/worker-limits.ts";

/** How long a machine that got no answer may ask again and get the same worker. */
export const repeatMs = 60_000;

const minTtlMs = 60_000;
const maxTtlMs = 3_600_000;
const mostUses = 100;

/** A token with which machines become workers; never its text. */
export interface EnrolmentView {
  /** The public id of its token. */
  readonly keyId: string;
  readonly name: string;
  readonly state: "active" | "used" | "expired" | "revoked";
  readonly limits: WorkerLimits;
  /** In which `*` stands for any text; empty: any name. */
  readonly namePattern: string;
  readonly uses: number;
  readonly used: number;
  readonly creator: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** What is asked of a token. */
export interface NewEnrolment {
  readonly name: string;
  /** What the server allows the workers that it makes. */
  readonly limits: WorkerLimits;
  readonly namePattern: string;
  readonly uses: number;
  readonly ttlMs: number;
}

/**
 * Makes a token with which machines become workers: as many as it has uses, within its time.
 *
 * @returns the enrolment, and the text of its token: here alone.
 */
export async function createEnrolment(
  c: KeyContext,
  caller: Caller,
  { name, limits, namePattern, uses, ttlMs }: NewEnrolment,
): Promise<{ readonly enrolment: EnrolmentView; readonly token: string }> {
  const isTtl = ttlMs >= minTtlMs && ttlMs <= maxTtlMs;
  const isUses = Number.isInteger(uses) && uses >= 1 && uses <= mostUses;
  const violations: Violation[] = [
    ...textViolations("name", name, { min: 1, max: 100 }),
    ...limitViolations("limits", limits),
    ...(isTtl ? [] : [{ field: "ttl", message: "must be 1 min to 1 h" }]),
    ...(isUses ? [] : [{ field: "uses", message: `must be 1 to ${mostUses}, or 0 for one` }]),
    ...patternViolations("namePattern", namePattern),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const expiresAt = new Date((await readClock(tx)).getTime() + ttlMs);
    // The token outlives its time by that of a repetition; what is new is refused then.
    const keyEnd = new Date(expiresAt.getTime() + repeatMs);
    const key = await createKey(c, tx, { orgId, type: "enrol", name, scopes: [], expiresAt: keyEnd });
    const row = { orgId, keyId: key.id, name, limits, namePattern, uses, creator: caller.actor, expiresAt };
    await insertEnrolment(tx, row);
    const details = { name, limits, namePattern, uses, expireTime: expiresAt.toISOString() };
    await audit(tx, c, caller, { action: "enrolment.create", target: key.id, details });
    const made = await lockEnrolment(tx, orgId, key.id);
    if (made === null) throw new Error("the new enrolment is not there");
    return { enrolment: viewOf(made), token: key.text };
  });
}

/** Lists enrolments, newest first: those that can be used, or all. */
export async function listEnrolments(
  c: Pick<KeyContext, "db">,
  { orgId }: Pick<Caller, "orgId">,
  { isWithEnded, ...page }: PageRequest & { readonly isWithEnded: boolean },
): Promise<Page<EnrolmentView>> {
  const identity: ListIdentity = { list: "enrolments", orgId, filter: isWithEnded };
  const limit = pageRows(page);
  const [createdMicros, keyId = ""] = readPageToken(identity, page, [/^\d{1,18}$/, keyIdForm]) ?? [];
  const after = createdMicros === undefined ? null : { createdMicros, keyId };
  const rows = await readOrg(c.db.app, orgId, (tx) =>
    readEnrolments(tx, orgId, { isWithEnded, after, limit: limit + 1 }),
  );
  return pageOf(rows, limit, identity, (row) => [row.createdMicros, row.keyId], viewOf);
}

/** Revokes a token for ever: here at once, elsewhere within 1 s. The workers that it made stay. */
export async function revokeEnrolment(
  c: KeyContext,
  caller: Caller,
  { keyId, reason }: { readonly keyId: string; readonly reason: string },
): Promise<EnrolmentView> {
  const violations = [
    ...(keyIdForm.test(keyId) ? [] : [{ field: "enrolmentId", message: "must be 12 characters" }]),
    ...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const view = await inOrg(c.db.app, orgId, async (tx) => {
    const row = await lockEnrolment(tx, orgId, keyId);
    if (row === null) throw notFound("ENROLMENT_NOT_FOUND", keyId);
    if (row.isRevoked) return viewOf(row);
    await revokeEnrolmentRow(tx, orgId, keyId);
    await revokeKeyRow(tx, orgId, keyId);
    const details = { name: row.name, used: row.used };
    await audit(tx, c, caller, { action: "enrolment.revoke", target: keyId, reason, details });
    return viewOf({ ...row, isRevoked: true });
  });
  distrustKeys(c, [keyId]);
  return view;
}

const keyIdForm = /^[0-9A-Za-z]{12}$/;

function viewOf(row: EnrolmentRow): EnrolmentView {
  const { keyId, name, limits, namePattern, uses, used, creator, createdAt, expiresAt } = row;
  const state = row.isRevoked ? "revoked" : used >= uses ? "used" : row.isExpired ? "expired" : "active";
  return { keyId, name, state, limits, namePattern, uses, used, creator, createdAt, expiresAt };
}
