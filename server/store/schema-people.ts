import { at, bytea, muster, now, orgId } from "./columns.ts";
import { index, integer, primaryKey, text, uniqueIndex, uuid } from "./drizzle.ts";

/** Accounts of people, each in the org that it was made in: its home. What it may do, `members` says. */
export const people = muster.table(
  "people",
  {
    orgId: orgId(),
    personId: uuid("person_id").notNull(),
    /** In lower case; an e-mail has one account, over all orgs. */
    email: text("email").notNull(),
    name: text("name").notNull(),
    /** With how it was hashed; null: no password logs in. */
    passwordHash: text("password_hash"),
    /** Somebody who knows, an admin or a provider, has said that the e-mail is theirs; null: they said so themselves. */
    vouchedAt: at("vouched_at"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.personId] }),
    uniqueIndex("people_by_email").on(t.email),
    uniqueIndex("people_by_id").on(t.personId),
  ],
);

/** Who may do what in an org. */
export const members = muster.table(
  "members",
  {
    orgId: orgId(),
    personId: uuid("person_id").notNull(),
    /** Where the account is. */
    homeOrgId: uuid("home_org_id").notNull(),
    email: text("email").notNull(),
    name: text("name").notNull(),
    /** `viewer`, `operator` or `admin`. */
    role: text("role").notNull(),
    disabledAt: at("disabled_at"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.personId] }),
    uniqueIndex("members_by_email").on(t.orgId, t.email),
    index("members_by_person").on(t.personId),
  ],
);

/** Logins of people, in the org of the account. Refresh tokens derive from the seed, the generation and a secret. */
export const logins = muster.table(
  "logins",
  {
    orgId: orgId(),
    loginId: uuid("login_id").notNull(),
    personId: uuid("person_id").notNull(),
    /** How it came to be: `password`, `provider`, `device`. */
    method: text("method").notNull(),
    seed: bytea("seed").notNull(),
    /** Which refresh token is the present one. */
    generation: integer("generation").notNull().default(1),
    rotatedAt: at("rotated_at").notNull().default(now),
    /** When the present refresh token ends. */
    expiresAt: at("expires_at").notNull(),
    endedAt: at("ended_at"),
    /** The one org that it is good for; null: all of the person's. */
    onlyOrgId: uuid("only_org_id"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.loginId] }),
    index("logins_by_person").on(t.orgId, t.personId),
    index("logins_by_end").on(t.orgId, t.expiresAt),
  ],
);

/** Accounts elsewhere that stand for a person, in the org of the account. */
export const identities = muster.table(
  "identities",
  {
    orgId: orgId(),
    personId: uuid("person_id").notNull(),
    /** `github`, or the issuer of an OpenID provider. */
    provider: text("provider").notNull(),
    /** Their id there, which never changes. */
    subject: text("subject").notNull(),
    /** Their name there. */
    login: text("login").notNull(),
    linkedAt: at("linked_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.personId, t.provider] }),
    uniqueIndex("identities_by_subject").on(t.provider, t.subject),
  ],
);

/** Invitations to an org. */
export const invitations = muster.table(
  "invitations",
  {
    orgId: orgId(),
    invitationId: uuid("invitation_id").notNull(),
    hash: bytea("hash").notNull(),
    /** Whom it is for; empty: whoever has the code. */
    email: text("email").notNull(),
    role: text("role").notNull(),
    expiresAt: at("expires_at").notNull(),
    usedAt: at("used_at"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.invitationId] })],
);

/** Logins of machines without a browser that wait for approval: of no org (the nil id), until somebody approves them. */
export const deviceLogins = muster.table(
  "device_logins",
  {
    orgId: orgId(),
    deviceHash: bytea("device_hash").notNull(),
    userCode: text("user_code").notNull(),
    expiresAt: at("expires_at").notNull(),
    intervalMs: integer("interval_ms").notNull(),
    polledAt: at("polled_at"),
    /** Who approved it: the person, and the org of their account. */
    personId: uuid("person_id"),
    homeOrgId: uuid("home_org_id"),
    onlyOrgId: uuid("only_org_id"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.deviceHash] }),
    uniqueIndex("device_logins_by_user_code").on(t.orgId, t.userCode),
    index("device_logins_by_end").on(t.orgId, t.expiresAt),
  ],
);
