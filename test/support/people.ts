import type { Config } from "../../server/config.ts";
import { logInByPassword } from "../../server/domain/accounts.ts";
import type { Caller, Coordinator } from "../../server/domain/context.ts";
import { authenticate, createKeyContext, derivePepper, type KeyContext } from "../../server/domain/keys.ts";
import { createPerson, type PersonView } from "../../server/domain/people.ts";
import type { Role } from "../../server/domain/rules/people.ts";
import { type TestDatabase, testCaller, testCoordinator } from "./database.ts";

/** What people of tests log in with. */
export const goodPassword = "a long and plain sentence";

/** A call of nobody yet. */
export const stranger = { requestId: "req_test", address: "192.0.2.1" };

/** Verbs about people in a new org, with cheap passwords and a clock of the process that can be moved. */
export interface PeopleBench {
  readonly orgId: string;
  readonly c: KeyContext & Coordinator;
  /** A key with the scope admin. */
  readonly admin: Caller;
  /** An e-mail that nobody has yet. */
  email(): string;
  create(role?: Role, email?: string): Promise<PersonView>;
  /** Logs in by password; answers with the tokens and the caller. */
  logIn(email: string): Promise<{
    readonly accessToken: string;
    readonly refreshToken: string;
    readonly caller: Caller;
  }>;
  authenticate(token: string, org?: string): Promise<Caller>;
  /** Moves the process' clock, by which what is believed grows old. */
  later(ms: number): void;
  audited(orgId?: string): Promise<readonly Record<string, unknown>[]>;
}

let made = 0;

/** Makes one. */
export async function peopleBench(db: TestDatabase, settings: Partial<Config> = {}): Promise<PeopleBench> {
  const orgId = await db.orgId();
  let nowMs = 0;
  const c = createKeyContext(testCoordinator(db, { config: { passwordCost: 10, ...settings } }), {
    pepper: derivePepper("test-secret"),
    nowMs: () => nowMs,
  });
  const admin = testCaller(orgId);
  const authenticated = (token: string, org = "") => authenticate(c, token, "req_test", "192.0.2.1", org);
  const email = () => `person${made++}@example.test`;
  return {
    orgId,
    c,
    admin,
    email,
    create: (role = "viewer", given = email()) =>
      createPerson(c, admin, { email: given, name: "Somebody", role, password: goodPassword }),
    async logIn(given) {
      const tokens = await logInByPassword(c, { email: given, password: goodPassword }, stranger);
      return { ...tokens, caller: await authenticated(tokens.accessToken) };
    },
    authenticate: authenticated,
    later(ms) {
      nowMs += ms;
    },
    audited: (of = orgId) =>
      db.admin`select actor, action, target, reason, details from muster.audit_log where org_id = ${of} order by audit_id`,
  };
}

/** The reason that something was refused for; "none" when it was not. */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "none",
    (error: { readonly reason?: string }) => error.reason ?? String(error),
  );
}
