import { at, muster, now, orgId } from "./columns.ts";
import { integer, primaryKey, text } from "./drizzle.ts";

/** Documents of skills, as they are. */
export const skills = muster.table(
  "skills",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    description: text("description").notNull(),
    /** SHA-256, in hex, of the present body. */
    digest: text("digest").notNull(),
    author: text("author").notNull(),
    createdAt: at("created_at").notNull().default(now),
    changedAt: at("changed_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.name] })],
);

/** What bodies of documents were and are. */
export const skillVersions = muster.table(
  "skill_versions",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    /** SHA-256, in hex, of the body. */
    digest: text("digest").notNull(),
    body: text("body").notNull(),
    /** Of the body. */
    sizeBytes: integer("size_bytes").notNull(),
    author: text("author").notNull(),
    putAt: at("put_at").notNull().default(now),
    /** Since when another one is in its place, or none; null: it is the present one. */
    replacedAt: at("replaced_at"),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.name, t.digest] })],
);
