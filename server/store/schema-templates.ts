import { at, muster, now, orgId } from "./columns.ts";
import { index, integer, primaryKey, text } from "./drizzle.ts";

/** Jobs with parameters. */
export const templates = muster.table(
  "templates",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    version: text("version").notNull(),
    description: text("description").notNull(),
    /** JSON: what it asks for. */
    parameters: text("parameters").notNull(),
    /** JSON: the job, as it was given. */
    job: text("job").notNull(),
    /** Where it came from, in the words of who put it. */
    source: text("source").notNull(),
    /** SHA-256, in hex, of what was fetched from there; may be empty. */
    sourceSha256: text("source_sha256").notNull(),
    /** SHA-256, in hex, of its content. */
    digest: text("digest").notNull(),
    author: text("author").notNull(),
    createdAt: at("created_at").notNull().default(now),
    changedAt: at("changed_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.name] })],
);

/** What people and keys think of templates. */
export const templateRatings = muster.table(
  "template_ratings",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    /** Who, as in the audit log. */
    author: text("author").notNull(),
    stars: integer("stars").notNull(),
    note: text("note").notNull(),
    ratedAt: at("rated_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.name, t.author] }),
    index("template_ratings_by_time").on(t.orgId, t.name, t.ratedAt),
  ],
);
