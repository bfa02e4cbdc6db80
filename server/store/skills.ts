import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, inArray, isNotNull, isNull, ne, sql } from "./drizzle.ts";
import { skills, skillVersions } from "./schema-skills.ts";
import { names, param, statement } from "./statement.ts";

const s = names(skills);
const v = names(skillVersions);

/** A document as it is kept, without its body. */
export interface SkillRow {
  readonly orgId: string;
  readonly name: string;
  readonly description: string;
  readonly digest: string;
  readonly author: string;
}

/** A version of a document as it is kept. */
export interface SkillVersionRow {
  readonly orgId: string;
  readonly name: string;
  readonly digest: string;
  readonly body: string;
  readonly sizeBytes: number;
  readonly author: string;
}

/** Which documents an org has, with their digests: what a lease is offered by. Parameters: org. */
export const readSkillDigests = statement(sql`
  select k.${s.name} as name, k.${s.digest} as digest from ${skills} k where k.${s.orgId} = ${param("org")}::uuid`);

/** Locks a document until the transaction ends; answers with what its etag is made of, null when there is none. */
export async function lockSkill(tx: Tx, orgId: string, name: string) {
  const { digest, description } = skills;
  const [row] = await tx
    .select({ digest, description })
    .from(skills)
    .where(and(eq(skills.orgId, orgId), eq(skills.name, name)))
    .for("update");
  return row ?? null;
}

/** How many documents an org has. */
export function countSkills(tx: Tx, orgId: string): Promise<number> {
  return tx.$count(skills, eq(skills.orgId, orgId));
}

/** Keeps a document that is new; false when another one of the name came first. */
export async function insertSkill(tx: Tx, row: SkillRow): Promise<boolean> {
  const made = await tx
    .insert(skills)
    .values(row)
    .onConflictDoNothing({ target: [skills.orgId, skills.name] })
    .returning({ name: skills.name });
  return made.length > 0;
}

/** Replaces a document. */
export async function replaceSkill(tx: Tx, { orgId, name, ...row }: SkillRow): Promise<void> {
  await tx
    .update(skills)
    .set({ ...row, changedAt: now })
    .where(and(eq(skills.orgId, orgId), eq(skills.name, name)));
}

/** Makes a version the present one of its document, in place of what it was. */
export async function putVersion(tx: Tx, row: SkillVersionRow): Promise<void> {
  const { orgId, name, digest } = skillVersions;
  await replaceVersions(tx, row.orgId, row.name, row.digest);
  await tx
    .insert(skillVersions)
    .values(row)
    .onConflictDoUpdate({
      target: [orgId, name, digest],
      // What it was once it is again.
      set: { author: row.author, putAt: now, replacedAt: null },
      setWhere: isNotNull(skillVersions.replacedAt),
    });
}

/** Removes a document; what is kept of its versions stays for a while. False when there is none. */
export async function deleteSkillRow(tx: Tx, orgId: string, name: string): Promise<boolean> {
  const deleted = await tx
    .delete(skills)
    .where(and(eq(skills.orgId, orgId), eq(skills.name, name)))
    .returning({ name: skills.name });
  await replaceVersions(tx, orgId, name, "");
  return deleted.length > 0;
}

/**
 * Removes versions of an org that nobody needs: of each document the last `kept` that were replaced stay, all of the last
 * day do as long as they are not more than `most`, and of a deleted document those of the last day alone.
 */
export async function dropOldVersions(
  tx: Tx,
  orgId: string,
  { kept, most }: { readonly kept: number; readonly most: number },
): Promise<void> {
  await tx.execute(sql`
    delete from ${skillVersions} g using (
      select r.${v.name} as name, r.${v.digest} as digest, r.${v.replacedAt} > ${now} - interval '1 day' as is_fresh,
        exists (select 1 from ${skills} k where k.${s.orgId} = ${orgId}::uuid and k.${s.name} = r.${v.name}) as is_kept,
        row_number() over (partition by r.${v.name} order by r.${v.replacedAt} desc) as place
      from ${skillVersions} r where r.${v.orgId} = ${orgId}::uuid and r.${v.replacedAt} is not null
    ) o
    where g.${v.orgId} = ${orgId}::uuid and g.${v.name} = o.name and g.${v.digest} = o.digest
      and (o.place > ${most} or (not o.is_fresh and (o.place > ${kept} or not o.is_kept)))`);
}

/** Documents by name, without their bodies: one of them, or a page of those with a text in name or description. */
export function readSkills(
  tx: Tx,
  orgId: string,
  selection:
    | { readonly name: string }
    | { readonly after: string | null; readonly text: string; readonly limit: number },
) {
  const isOne = "name" in selection;
  const wanted = isOne
    ? eq(skills.name, selection.name)
    : and(
        selection.after === null ? undefined : gt(skills.name, selection.after),
        selection.text === ""
          ? undefined
          : sql`strpos(lower(${skills.name} || ' ' || ${skills.description}), lower(${selection.text})) > 0`,
      );
  return tx
    .select({
      name: skills.name,
      description: skills.description,
      digest: skills.digest,
      sizeBytes: skillVersions.sizeBytes,
      author: skills.author,
      createdAt: skills.createdAt,
      changedAt: skills.changedAt,
    })
    .from(skills)
    .innerJoin(
      skillVersions,
      and(
        eq(skillVersions.orgId, orgId),
        eq(skillVersions.name, skills.name),
        eq(skillVersions.digest, skills.digest),
      ),
    )
    .where(and(eq(skills.orgId, orgId), wanted))
    .orderBy(asc(skills.name))
    .limit(isOne ? 1 : selection.limit);
}

/** A document without its body. */
export type SkillSummary = Awaited<ReturnType<typeof readSkills>>[number];

/** Versions of a document, the present one first; without their bodies. */
export function readVersions(tx: Tx, orgId: string, name: string, limit: number) {
  const { digest, sizeBytes, author, putAt, replacedAt } = skillVersions;
  return tx
    .select({ digest, sizeBytes, author, putAt, replacedAt })
    .from(skillVersions)
    .where(and(eq(skillVersions.orgId, orgId), eq(skillVersions.name, name)))
    .orderBy(desc(isNull(replacedAt)), desc(replacedAt), asc(digest))
    .limit(limit);
}

/** Versions of a document whose digest begins so, whole: at most two, to know whether it is the only one. */
export function readVersionsOf(tx: Tx, orgId: string, name: string, prefix: string) {
  const { digest, body, sizeBytes, author, putAt } = skillVersions;
  return tx
    .select({ digest, body, sizeBytes, author, putAt })
    .from(skillVersions)
    .where(
      and(
        eq(skillVersions.orgId, orgId),
        eq(skillVersions.name, name),
        prefix.length === 64 ? eq(digest, prefix) : sql`starts_with(${digest}, ${prefix})`,
      ),
    )
    .orderBy(asc(digest))
    .limit(2);
}

/** The names among some that are those of documents. */
export async function readSkillNames(tx: Tx, orgId: string, among: readonly string[]): Promise<string[]> {
  const rows = await tx
    .select({ name: skills.name })
    .from(skills)
    .where(and(eq(skills.orgId, orgId), inArray(skills.name, [...among])));
  return rows.map((row) => row.name);
}

async function replaceVersions(tx: Tx, orgId: string, name: string, except: string): Promise<void> {
  await tx
    .update(skillVersions)
    .set({ replacedAt: now })
    .where(
      and(
        eq(skillVersions.orgId, orgId),
        eq(skillVersions.name, name),
        isNull(skillVersions.replacedAt),
        ne(skillVersions.digest, except),
      ),
    );
}
