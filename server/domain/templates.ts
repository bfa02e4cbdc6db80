import { inOrg, type Tx } from "../store/database.ts";
import {
  deleteRating,
  deleteTemplateRow,
  insertTemplate,
  lockTemplate,
  type RatedTemplate,
  readRatings,
  readTemplates,
  replaceRating,
  replaceTemplate,
  type TemplateRow,
} from "../store/templates.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import {
  type JsonObject,
  readValues,
  renderJob,
  type TemplateContent,
  type TemplateParameter,
  templateDigest,
  templateViolations,
} from "./rules/templates.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";

/** A template as it is asked for. */
export interface TemplateRequest extends TemplateContent {
  readonly name: string;
  /** Where it came from, in the words of who puts it. */
  readonly source: string;
  /** SHA-256 of what was fetched from there, in hex; may be empty. */
  readonly sourceSha256: string;
}

/** A template with what is known of it. */
export interface TemplateView extends TemplateRequest {
  readonly digest: string;
  readonly author: string;
  /** Null: it is not kept. */
  readonly createdAt: Date | null;
  readonly changedAt: Date | null;
  readonly stars: number;
  readonly ratings: number;
}

/** What somebody said of a template. */
export type RatingView = Awaited<ReturnType<typeof readRatings>>[number];

/** How a template is put. */
export interface PutTemplate {
  readonly template: TemplateRequest;
  /** Null: whatever its present content is. */
  readonly expectedDigest: string | null;
  readonly isCreateOnly: boolean;
  readonly isDryRun: boolean;
  readonly reason: string;
}

type TemplateContext = Pick<Coordinator, "db" | "newId">;

/** Creates a template, or replaces all of it; one that says what is there already is left alone. */
export async function putTemplate(
  c: TemplateContext,
  caller: Caller,
  { template, expectedDigest, isCreateOnly, isDryRun, reason }: PutTemplate,
): Promise<{ readonly template: TemplateView; readonly isNew: boolean; readonly isChanged: boolean }> {
  const violations = [
    ...requestViolations(template),
    ...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId, actor: author } = caller;
  const digest = templateDigest(template);
  const row = rowOf(orgId, template, digest, author);
  return inOrg(c.db.app, orgId, async (tx) => {
    const before = await lockTemplate(tx, orgId, template.name);
    if (before !== null && isCreateOnly) throw alreadyExists("NAME_TAKEN", { name: template.name });
    if (expectedDigest !== null && before?.digest !== expectedDigest) throw mismatch(before?.digest);
    const isNew = before === null;
    const { source, sourceSha256 } = template;
    const isChanged =
      before?.digest !== digest || before.source !== source || before.sourceSha256 !== sourceSha256;
    if (!isDryRun && isChanged) {
      // Of two that put it first one comes later, and would undo what it has not seen.
      if (!isNew) await replaceTemplate(tx, row);
      else if (!(await insertTemplate(tx, row))) throw new DomainError("ETAG_MISMATCH");
    }
    if (!isDryRun) {
      await audit(tx, c, caller, {
        action: "template.put",
        target: template.name,
        reason,
        details: {
          before: before?.digest ?? null,
          after: digest,
          version: template.version,
          source,
          isChanged,
        },
      });
    }
    const [after] = await readTemplates(tx, orgId, { name: template.name });
    const view = isDryRun || after === undefined ? unkept(template, digest, author) : viewOf(after);
    return { template: view, isNew, isChanged };
  });
}

/** Reads a template, with what was said of it. */
export async function getTemplate(
  c: TemplateContext,
  caller: Caller,
  name: string,
): Promise<{ readonly template: TemplateView; readonly ratings: readonly RatingView[] }> {
  refuseName(name);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const template = await requireTemplate(tx, orgId, name);
    return { template, ratings: await readRatings(tx, orgId, name, 50) };
  });
}

/** Lists templates by name: those with a text in their name or description. */
export async function listTemplates(
  c: TemplateContext,
  caller: Caller,
  { text, ...page }: PageRequest & { readonly text: string },
): Promise<Page<TemplateView>> {
  const violations = textViolations("text", text, { min: 0, max: 200 });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const identity: ListIdentity = { list: "templates", orgId, filter: text };
  const limit = pageRows(page);
  const [after = null] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const rows = await inOrg(c.db.app, orgId, (tx) =>
    readTemplates(tx, orgId, { after, text, limit: limit + 1 }),
  );
  return pageOf(rows, limit, identity, (row) => [row.name], viewOf);
}

/** The job that a template makes of values, with labels that name the template. */
export async function renderTemplate(
  c: TemplateContext,
  caller: Caller,
  of: { readonly name: string } | { readonly template: TemplateRequest },
  given: JsonObject,
  expectedDigest: string | null = null,
): Promise<{ readonly job: JsonObject; readonly digest: string }> {
  const template = "template" in of ? of.template : (await getTemplate(c, caller, of.name)).template;
  const wrong = "template" in of ? requestViolations(of.template) : [];
  if (wrong.length > 0) throw invalidArgument(wrong);
  const digest = templateDigest(template);
  if (expectedDigest !== null && expectedDigest !== digest) throw mismatch(digest);
  const { values, violations } = readValues(template.parameters, given);
  if (violations.length > 0) throw invalidArgument(violations);
  const job = renderJob(template, values);
  const own = job["labels"];
  const labels = {
    ...(typeof own === "object" && own !== null && !Array.isArray(own) ? own : {}),
    template: template.name,
    "template-digest": digest.slice(0, 16),
  };
  return { job: { ...job, labels }, digest };
}

/** Keeps what the caller thinks of a template; 0 stars take it back. */
export async function rateTemplate(
  c: TemplateContext,
  caller: Caller,
  { name, stars, note }: { readonly name: string; readonly stars: number; readonly note: string },
): Promise<TemplateView> {
  const isStars = Number.isInteger(stars) && stars >= 0 && stars <= 5;
  refuseName(name, [
    ...(isStars ? [] : [{ field: "stars", message: "must be 1 to 5, or 0 to take the rating back" }]),
    ...textViolations("note", note, { min: 0, max: 1_000, isMultiline: true }),
  ]);
  const { orgId, actor: author } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    // Held, so that a rating never outlives its template.
    if ((await lockTemplate(tx, orgId, name)) === null) throw notFound("TEMPLATE_NOT_FOUND", name);
    if (stars === 0) await deleteRating(tx, orgId, name, author);
    else await replaceRating(tx, { orgId, name, author, stars, note });
    await audit(tx, c, caller, { action: "template.rate", target: name, details: { stars } });
    return requireTemplate(tx, orgId, name);
  });
}

/** Deletes a template, with what was said of it. */
export async function deleteTemplate(
  c: TemplateContext,
  caller: Caller,
  {
    name,
    isMissingAllowed,
    reason,
  }: { readonly name: string; readonly isMissingAllowed: boolean; readonly reason: string },
): Promise<void> {
  refuseName(name, textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }));
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const before = await lockTemplate(tx, orgId, name);
    if (before === null && !isMissingAllowed) throw notFound("TEMPLATE_NOT_FOUND", name);
    await deleteTemplateRow(tx, orgId, name);
    const details = { digest: before?.digest ?? null, version: before?.version ?? null };
    await audit(tx, c, caller, { action: "template.delete", target: name, reason, details });
  });
}

async function requireTemplate(tx: Tx, orgId: string, name: string): Promise<TemplateView> {
  const [row] = await readTemplates(tx, orgId, { name });
  if (row === undefined) throw notFound("TEMPLATE_NOT_FOUND", name);
  return viewOf(row);
}

function requestViolations(template: TemplateRequest): Violation[] {
  const { name, source, sourceSha256 } = template;
  const isHash = sourceSha256 === "" || /^[0-9a-f]{64}$/.test(sourceSha256);
  return [
    ...nameViolations("template.name", name, slugRule),
    ...textViolations("template.source", source, { min: 0, max: 500 }),
    ...(isHash ? [] : [{ field: "template.sourceSha256", message: "must be 64 characters of 0-9 a-f" }]),
    ...templateViolations(template),
  ];
}

function refuseName(name: string, others: readonly Violation[] = []): void {
  const violations = [...nameViolations("name", name, slugRule), ...others];
  if (violations.length > 0) throw invalidArgument(violations);
}

function mismatch(present: string | undefined): DomainError {
  return new DomainError("ETAG_MISMATCH", {
    message: present === undefined ? "There is no template of the name" : "The template has another digest",
    details: { digest: present ?? "" },
    suggestion: "Look at what it says now with `muster template get`, then repeat the call with its digest.",
  });
}

function rowOf(orgId: string, template: TemplateRequest, digest: string, author: string): TemplateRow {
  const { parameters, job, ...rest } = template;
  const { name, version, description, source, sourceSha256 } = rest;
  return {
    ...{ orgId, name, version, description, source, sourceSha256, digest, author },
    parameters: JSON.stringify(parameters),
    job: JSON.stringify(job),
  };
}

function unkept(template: TemplateRequest, digest: string, author: string): TemplateView {
  return { ...template, digest, author, createdAt: null, changedAt: null, stars: 0, ratings: 0 };
}

function viewOf({ parameters, job, ...row }: RatedTemplate): TemplateView {
  return { ...row, parameters: parametersOf(parameters), job: jobOf(job) };
}

// Only what `rowOf` wrote is in the table.
function parametersOf(json: string): readonly TemplateParameter[] {
  return JSON.parse(json);
}

function jobOf(json: string): JsonObject {
  return JSON.parse(json);
}
