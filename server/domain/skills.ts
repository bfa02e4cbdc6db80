import { createHash } from "node:crypto";
import { inOrg, type Tx } from "../store/database.ts";
import {
  countSkills,
  deleteSkillRow,
  dropOldVersions,
  insertSkill,
  lockSkill,
  putVersion,
  readSkills,
  readVersions,
  readVersionsOf,
  replaceSkill,
  type SkillSummary,
} from "../store/skills.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";

/** Bytes of a body at most. */
export const maxBodyBytes = 256 * 1024;

/** Documents of an org at most. */
const maxSkills = 1_000;

/** What is kept of versions that were replaced: so many of a document, or all of the last day as long as they are no more than that. */
const retained = { kept: 20, most: 200 };

/** How a document is put. */
export interface PutSkill {
  readonly name: string;
  readonly description: string;
  /** Markdown. */
  readonly body: string;
  /** Only when this is its etag; empty: whatever it is. */
  readonly etag: string;
  readonly isCreateOnly: boolean;
  readonly isDryRun: boolean;
  readonly reason: string;
}

/** A document; of a list without its body. */
export interface SkillView extends Omit<SkillSummary, "createdAt" | "changedAt"> {
  readonly body: string;
  readonly etag: string;
  /** Null: it is not kept. */
  readonly createdAt: Date | null;
  readonly changedAt: Date | null;
}

/** A version of a document. */
export type SkillVersionView = Awaited<ReturnType<typeof readVersions>>[number];

type SkillContext = Pick<Coordinator, "db" | "newId" | "documents">;

/** Creates a document, or replaces all of it; one that says what is there already is left alone. */
export async function putSkill(
  c: SkillContext,
  caller: Caller,
  { etag, isCreateOnly, isDryRun, reason, ...asked }: PutSkill,
): Promise<{ readonly skill: SkillView; readonly isNew: boolean; readonly isChanged: boolean }> {
  const { name, description, body } = asked;
  const violations = [...skillViolations(asked), ...reasonViolations(reason)];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId, actor: author } = caller;
  const row = { orgId, name, description, digest: digestOf(body), author };
  const sizeBytes = Buffer.byteLength(body);
  const put = await inOrg(c.db.app, orgId, async (tx) => {
    const before = await lockSkill(tx, orgId, name);
    if (before !== null && isCreateOnly) throw alreadyExists("NAME_TAKEN", { name });
    refuseEtag(name, before, etag);
    const isNew = before === null;
    const isChanged = before?.digest !== row.digest || before.description !== description;
    if (isNew && (await countSkills(tx, orgId)) >= maxSkills) throw new DomainError("SKILLS_FULL");
    if (!isDryRun) {
      // Of two that put it first one comes later, and would undo what it has not seen.
      if (isNew && !(await insertSkill(tx, row)))
        throw new DomainError("ETAG_MISMATCH", { details: { name } });
      if (!isNew && isChanged) await replaceSkill(tx, row);
      if (before?.digest !== row.digest) {
        await putVersion(tx, { orgId, name, digest: row.digest, body, sizeBytes, author });
        await dropOldVersions(tx, orgId, retained);
      }
      const details = { before: before?.digest ?? null, after: row.digest, sizeBytes, isChanged };
      await audit(tx, c, caller, { action: "skill.put", target: name, reason, details });
    }
    const [after] = await readSkills(tx, orgId, { name });
    const isKept = after !== undefined && !isDryRun;
    const unkept = {
      name,
      description,
      digest: row.digest,
      sizeBytes,
      author,
      createdAt: null,
      changedAt: null,
    };
    return { skill: viewOf(isKept ? after : unkept), isNew, isChanged };
  });
  if (!isDryRun) c.documents.forget(orgId);
  return put;
}

/** Reads a document: as it is, or the version whose digest begins so. */
export async function getSkill(
  c: SkillContext,
  { orgId }: Caller,
  { name, digest }: { readonly name: string; readonly digest: string },
): Promise<SkillView> {
  const isDigest = digest === "" || /^[0-9a-f]{8,64}$/.test(digest);
  refuseName(name, isDigest ? [] : [{ field: "digest", message: "must be 8 to 64 characters of 0-9 a-f" }]);
  return inOrg(c.db.app, orgId, async (tx) => {
    const [summary] = await readSkills(tx, orgId, { name });
    if (summary === undefined) throw notFound("SKILL_NOT_FOUND", name);
    const { body, ...version } = await requireVersion(tx, orgId, name, digest || summary.digest);
    const { digest: present, description } = summary;
    const view = viewOf({
      ...summary,
      ...version,
      changedAt: digest === "" ? summary.changedAt : version.putAt,
    });
    return { ...view, body, etag: etagOf({ digest: present, description }) };
  });
}

/** Reads the text of a document as an offer names it; also of one that is deleted meanwhile. */
export async function readDocument(
  c: Pick<Coordinator, "db">,
  { orgId }: Caller,
  { skill, digest }: { readonly skill: string; readonly digest: string },
): Promise<string> {
  const violations = [
    ...nameViolations("skill", skill, slugRule),
    ...(/^[0-9a-f]{64}$/.test(digest)
      ? []
      : [{ field: "digest", message: "must be 64 characters of 0-9 a-f" }]),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  return inOrg(c.db.app, orgId, async (tx) => (await requireVersion(tx, orgId, skill, digest)).body);
}

/** Lists documents by name: those with a text in their name or description. */
export async function listSkills(
  c: SkillContext,
  { orgId }: Caller,
  { text, ...page }: PageRequest & { readonly text: string },
): Promise<Page<SkillView>> {
  const violations = textViolations("text", text, { min: 0, max: 200 });
  if (violations.length > 0) throw invalidArgument(violations);
  const identity: ListIdentity = { list: "skills", orgId, filter: text };
  const limit = pageRows(page);
  const [after = null] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const rows = await inOrg(c.db.app, orgId, (tx) => readSkills(tx, orgId, { after, text, limit: limit + 1 }));
  return pageOf(rows, limit, identity, (row) => [row.name], viewOf);
}

/** Lists what is kept of a document's versions, the present one first. */
export async function listSkillVersions(
  c: SkillContext,
  { orgId }: Caller,
  name: string,
): Promise<readonly SkillVersionView[]> {
  refuseName(name);
  return inOrg(c.db.app, orgId, async (tx) => {
    const [summary] = await readSkills(tx, orgId, { name });
    if (summary === undefined) throw notFound("SKILL_NOT_FOUND", name);
    return readVersions(tx, orgId, name, retained.most + 1);
  });
}

/** Deletes a document. Its versions stay for a day, for handlers that were offered them. */
export async function deleteSkill(
  c: SkillContext,
  caller: Caller,
  {
    name,
    etag,
    isMissingAllowed,
    reason,
  }: {
    readonly name: string;
    /** Only when this is its etag; empty: whatever it is. */
    readonly etag: string;
    readonly isMissingAllowed: boolean;
    readonly reason: string;
  },
): Promise<void> {
  refuseName(name, reasonViolations(reason));
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const before = await lockSkill(tx, orgId, name);
    if (before === null && !isMissingAllowed) throw notFound("SKILL_NOT_FOUND", name);
    refuseEtag(name, before, before === null ? "" : etag);
    await deleteSkillRow(tx, orgId, name);
    await dropOldVersions(tx, orgId, retained);
    const details = { digest: before?.digest ?? null };
    await audit(tx, c, caller, { action: "skill.delete", target: name, reason, details });
  });
  c.documents.forget(orgId);
}

async function requireVersion(tx: Tx, orgId: string, name: string, digest: string) {
  const [version, other] = await readVersionsOf(tx, orgId, name, digest);
  if (version === undefined) throw notFound("SKILL_NOT_FOUND", `${name}@${digest}`);
  if (other !== undefined) {
    throw invalidArgument([
      { field: "digest", message: "is the beginning of several versions: give more of it" },
    ]);
  }
  return version;
}

function skillViolations({
  name,
  description,
  body,
}: Pick<PutSkill, "name" | "description" | "body">): Violation[] {
  return [
    ...nameViolations("skill.name", name, slugRule),
    ...textViolations("skill.description", description, { min: 0, max: 1_024, isMultiline: true }),
    ...(Buffer.byteLength(body) > maxBodyBytes
      ? [{ field: "skill.body", message: "must have at most 256 KiB" }]
      : textViolations("skill.body", body, { min: 1, max: maxBodyBytes, isMultiline: true }).map((one) =>
          body.trim() === "" ? { field: "skill.body", message: "must not be empty" } : one,
        )),
  ];
}

function reasonViolations(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}

function refuseName(name: string, others: readonly Violation[] = []): void {
  const violations = [...nameViolations("name", name, slugRule), ...others];
  if (violations.length > 0) throw invalidArgument(violations);
}

function refuseEtag(name: string, before: Content | null, etag: string): void {
  const present = before === null ? "" : etagOf(before);
  if (etag !== "" && etag !== present)
    throw new DomainError("ETAG_MISMATCH", { details: { name, etag: present } });
}

type Content = Pick<SkillSummary, "digest" | "description">;

// What it says, not how often it was changed: the same again is the same.
function etagOf({ digest, description }: Content): string {
  return digestOf(`${digest}\n${description}`).slice(0, 16);
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function viewOf(row: Omit<SkillView, "body" | "etag">): SkillView {
  const { name, description, digest, sizeBytes, author, createdAt, changedAt } = row;
  return { name, description, digest, sizeBytes, author, createdAt, changedAt, body: "", etag: etagOf(row) };
}
