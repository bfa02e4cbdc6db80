import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { logInByPassword, register } from "../../server/domain/accounts.ts";
import {
  finishGithubLink,
  logInByProvider,
  startGithubLink,
  unlinkGithub,
} from "../../server/domain/identities.ts";
import { getPerson, readSelf } from "../../server/domain/people.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { goodPassword, peopleBench, reasonOf, stranger } from "../support/people.ts";
import {
  type GithubLoginPeer,
  githubUserToken,
  type IssuerPeer,
  startGithubLogin,
  startIssuer,
} from "../support/providers.ts";

let db: TestDatabase;
let issuer: IssuerPeer;
let github: GithubLoginPeer;
beforeAll(async () => {
  db = await createTestDatabase();
  [issuer, github] = await Promise.all([startIssuer("muster-test"), startGithubLogin()]);
});
afterAll(() => Promise.all([db.close(), issuer.close(), github.close()]));

function bench(settings: Parameters<typeof peopleBench>[1] = {}) {
  return peopleBench(db, { oidcIssuer: issuer.url, oidcAudience: "muster-test", ...settings });
}

describe("logging in by a provider", () => {
  test("knows a member by the verified e-mail, and later by the provider's id alone", async () => {
    const { c, create, authenticate } = await bench();
    const { email } = await create("operator");
    const sub = c.newId();
    const unverified = await issuer.token({ sub, email, email_verified: false });
    expect(await reasonOf(logInByProvider(c, unverified, stranger))).toBe("NOT_MEMBER");
    const first = await logInByProvider(
      c,
      await issuer.token({ sub, email, email_verified: true }),
      stranger,
    );
    expect(await authenticate(first.accessToken)).toMatchObject({ actor: `person:${email}` });
    const again = await logInByProvider(c, await issuer.token({ sub }), stranger);
    expect(await authenticate(again.accessToken)).toMatchObject({ login: { role: "operator" } });
    const strange = await issuer.token({ sub: c.newId(), email: "no@example.test", email_verified: true });
    expect(await reasonOf(logInByProvider(c, strange, stranger))).toBe("NOT_MEMBER");
  });

  test("refuses tokens for others, ended, forged, and what is none", async () => {
    const { c, create } = await bench();
    const { email } = await create();
    const right = { sub: c.newId(), email, email_verified: true };
    const wrong = [
      await issuer.token({ ...right, aud: "other" }),
      await issuer.token({ ...right, iss: "https://elsewhere.test" }),
      await issuer.token(right, { isForged: true }),
      await issuer.token(right, { expiresIn: "-5m" }),
      "eyJ.a.b",
      "",
    ];
    for (const token of wrong)
      expect(await reasonOf(logInByProvider(c, token, stranger))).toBe("LOGIN_INVALID");
    const off = await peopleBench(db);
    expect(await reasonOf(logInByProvider(off.c, "a.b.c", stranger))).toBe("PROVIDER_OFF");
  });

  test("whoever registered with an e-mail of somebody else does not stay in their account", async () => {
    const { c, email, logIn, authenticate } = await bench({ registration: "open" });
    await db.admin`insert into muster.orgs (org_id, name) values (${c.newId()}, 'default') on conflict do nothing`;
    const theirs = email();
    await register(c, { email: theirs, password: goodPassword, name: "", invitation: "" }, stranger);
    const { accessToken } = await logIn(theirs);
    const token = await issuer.token({ sub: c.newId(), email: theirs, email_verified: true });
    await logInByProvider(c, token, stranger);
    expect(await reasonOf(authenticate(accessToken))).toBe("KEY_INVALID");
    const tried = logInByPassword(c, { email: theirs, password: goodPassword }, stranger);
    expect(await reasonOf(tried)).toBe("LOGIN_INVALID");
  });

  test("by its roles makes accounts, and settles the role at each login", async () => {
    const base = await peopleBench(db);
    const { c, email, authenticate, admin } = await bench({
      oidcRoleClaim: "groups",
      oidcRoles: ["staff=viewer", "ops=operator"],
      oidcOrg: `org ${base.orgId}`,
    });
    const who = { sub: c.newId(), email: email(), email_verified: true, name: "Ada\u0007 L" };
    const logIn = async (groups: string[]) =>
      logInByProvider(c, await issuer.token({ ...who, groups }), stranger);
    expect(await reasonOf(logIn(["others"]))).toBe("NOT_MEMBER");
    const { accessToken } = await logIn(["staff", "ops"]);
    expect(await authenticate(accessToken)).toMatchObject({ orgId: base.orgId, login: { role: "operator" } });
    await logIn(["staff"]);
    expect(await getPerson(c, { ...admin, orgId: base.orgId }, who.email)).toMatchObject({
      role: "viewer",
      name: "Ada  L",
    });
    expect(await reasonOf(logIn([]))).toBe("NOT_MEMBER");
  });

  test("that is out of reach is UNAVAILABLE", async () => {
    const { c } = await bench({ oidcIssuer: "http://127.0.0.1:9" });
    const token = await issuer.token({ sub: "x" });
    expect(await reasonOf(logInByProvider(c, token, stranger))).toBe("PROVIDER_UNAVAILABLE");
  });
});

describe("an account of GitHub", () => {
  test("is linked by its device flow; its token is in no table and no log", async () => {
    const logged: unknown[] = [];
    const made = await bench({
      githubClientId: "Iv1.x",
      githubLoginUrl: github.url,
      githubApiUrl: github.url,
    });
    const log = Object.fromEntries(
      ["debug", "info", "warn", "error"].map((level) => [level, (...line: unknown[]) => logged.push(line)]),
    );
    const c = { ...made.c, log: { ...made.c.log, ...log } };
    const { caller } = await made.logIn((await made.create()).email);
    const before = await made.audited();
    const started = await startGithubLink(c, caller);
    expect(started).toMatchObject({ userCode: "WDJB-MJHT", intervalMs: 5_000, expiresInMs: 900_000 });
    github.answers.push(
      { error: "authorization_pending" },
      { error: "slow_down", interval: 10 },
      { error: "expired_token" },
    );
    const finish = () => finishGithubLink(c, caller, started.deviceCode);
    expect(await finish()).toEqual({ state: "authorization_pending" });
    expect(await finish()).toEqual({ state: "slow_down", intervalMs: 10_000 });
    expect(await finish()).toEqual({ state: "expired_token" });
    expect(await made.audited()).toEqual(before);
    expect(await finish()).toEqual({ state: "approved", id: "583231", login: "octocat" });
    const linked = (await made.audited()).slice(before.length);
    expect(linked).toEqual([
      expect.objectContaining({
        action: "identity.link",
        actor: caller.actor,
        details: { provider: "github", id: "583231", login: "octocat" },
      }),
    ]);
    expect(await readSelf(c, caller)).toMatchObject({ githubLogin: "octocat" });
    expect(github.seen.at(-1)).toMatchObject({ path: "/user", authorization: `Bearer ${githubUserToken}` });
    const tables =
      await db.admin`select table_name from information_schema.tables where table_schema = 'muster'`;
    for (const { table_name: name } of tables) {
      const [found] = await db.admin.unsafe(
        `select count(*)::int as rows from muster."${name}" t where t::text like '%${githubUserToken}%'`,
      );
      expect([name, found?.["rows"]]).toEqual([name, 0]);
    }
    expect(JSON.stringify(logged) + JSON.stringify(c.people)).not.toContain(githubUserToken);
    const other = await made.logIn((await made.create()).email);
    expect(await reasonOf(finishGithubLink(c, other.caller, started.deviceCode))).toBe("IDENTITY_TAKEN");
    const left = await made.audited();
    await unlinkGithub(c, caller);
    // The second time there is nothing to unlink, and nothing to tell.
    await unlinkGithub(c, caller);
    expect(await readSelf(c, caller)).toMatchObject({ githubLogin: "" });
    expect((await made.audited()).slice(left.length)).toEqual([
      expect.objectContaining({ action: "identity.unlink", actor: caller.actor }),
    ]);
  });
});
