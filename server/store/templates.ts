import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, sql } from "./drizzle.ts";
import { templateRatings, templates } from "./schema-templates.ts";

/** A template as it is kept. */
export interface TemplateRow {
  readonly orgId: string;
  readonly name: string;
  readonly version: string;
  readonly description: string;
  /** JSON. */
  readonly parameters: string;
  /** JSON. */
  readonly job: string;
  readonly source: string;
  readonly sourceSha256: string;
  readonly digest: string;
  readonly author: string;
}

/** A template with when it came and changed, and what it is thought of. */
export type RatedTemplate = Awaited<ReturnType<typeof readTemplates>>[number];

/** Locks a template until the transaction ends; answers with its digest and source, null when there is none. */
export async function lockTemplate(tx: Tx, orgId: string, name: string) {
  const { digest, source, sourceSha256, version } = templates;
  const [row] = await tx
    .select({ digest, source, sourceSha256, version })
    .from(templates)
    .where(and(eq(templates.orgId, orgId), eq(templates.name, name)))
    .for("update");
  return row ?? null;
}

/** Keeps a template that is new; false when another one of the name came first. */
export async function insertTemplate(tx: Tx, row: TemplateRow): Promise<boolean> {
  const made = await tx
    .insert(templates)
    .values(row)
    .onConflictDoNothing({ target: [templates.orgId, templates.name] })
    .returning({ name: templates.name });
  return made.length > 0;
}

/** Replaces a template. */
export async function replaceTemplate(tx: Tx, { orgId, name, ...row }: TemplateRow): Promise<void> {
  await tx
    .update(templates)
    .set({ ...row, changedAt: now })
    .where(and(eq(templates.orgId, orgId), eq(templates.name, name)));
}

/** Removes a template and its ratings; false when there is none. */
export async function deleteTemplateRow(tx: Tx, orgId: string, name: string): Promise<boolean> {
  await tx
    .delete(templateRatings)
    .where(and(eq(templateRatings.orgId, orgId), eq(templateRatings.name, name)));
  const deleted = await tx
    .delete(templates)
    .where(and(eq(templates.orgId, orgId), eq(templates.name, name)))
    .returning({ name: templates.name });
  return deleted.length > 0;
}

/** Templates by name, with their ratings: one of them, or a page of those with a text in name or description. */
export function readTemplates(
  tx: Tx,
  orgId: string,
  selection:
    | { readonly name: string }
    | { readonly after: string | null; readonly text: string; readonly limit: number },
) {
  const rated = tx
    .select({
      stars: sql<number>`coalesce(avg(${templateRatings.stars}), 0)::float8`.as("mean_stars"),
      ratings: sql<number>`count(*)::int`.as("ratings"),
    })
    .from(templateRatings)
    .where(and(eq(templateRatings.orgId, orgId), eq(templateRatings.name, templates.name)))
    .as("rated");
  const isOne = "name" in selection;
  const wanted = isOne
    ? eq(templates.name, selection.name)
    : and(
        selection.after === null ? undefined : gt(templates.name, selection.after),
        selection.text === ""
          ? undefined
          : sql`strpos(lower(${templates.name} || ' ' || ${templates.description}), lower(${selection.text})) > 0`,
      );
  return tx
    .select({
      name: templates.name,
      version: templates.version,
      description: templates.description,
      parameters: templates.parameters,
      job: templates.job,
      source: templates.source,
      sourceSha256: templates.sourceSha256,
      digest: templates.digest,
      author: templates.author,
      createdAt: templates.createdAt,
      changedAt: templates.changedAt,
      stars: rated.stars,
      ratings: rated.ratings,
    })
    .from(templates)
    .innerJoinLateral(rated, sql`true`)
    .where(and(eq(templates.orgId, orgId), wanted))
    .orderBy(asc(templates.name))
    .limit(isOne ? 1 : selection.limit);
}

/** What was said of a template, newest first. */
export function readRatings(tx: Tx, orgId: string, name: string, limit: number) {
  const { author, stars, note, ratedAt } = templateRatings;
  return tx
    .select({ author, stars, note, ratedAt })
    .from(templateRatings)
    .where(and(eq(templateRatings.orgId, orgId), eq(templateRatings.name, name)))
    .orderBy(desc(templateRatings.ratedAt), asc(templateRatings.author))
    .limit(limit);
}

/** Keeps what somebody thinks of a template, in place of what they thought before. */
export async function replaceRating(
  tx: Tx,
  row: {
    readonly orgId: string;
    readonly name: string;
    readonly author: string;
    readonly stars: number;
    readonly note: string;
  },
): Promise<void> {
  const { orgId, name, author } = templateRatings;
  const { stars, note } = row;
  await tx
    .insert(templateRatings)
    .values(row)
    .onConflictDoUpdate({ target: [orgId, name, author], set: { stars, note, ratedAt: now } });
}

/** Takes it back. */
export async function deleteRating(tx: Tx, orgId: string, name: string, author: string): Promise<void> {
  await tx
    .delete(templateRatings)
    .where(
      and(
        eq(templateRatings.orgId, orgId),
        eq(templateRatings.name, name),
        eq(templateRatings.author, author),
      ),
    );
}
