import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { changePassword, logInByPassword } from "../../server/domain/accounts.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { logOut, refreshLogin } from "../../server/domain/logins.ts";
import { setDisabled, setRole } from "../../server/domain/people.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { goodPassword, peopleBench, reasonOf, stranger } from "../support/people.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

describe("logging in", () => {
  test("makes a caller with the scopes of the role, whatever the case of the e-mail", async () => {
    const { c, create, logIn, authenticate, orgId, audited } = await peopleBench(db);
    const { email, personId } = await create("operator");
    const { caller } = await logIn(email.toUpperCase());
    expect(caller).toMatchObject({
      orgId,
      personId,
      actor: `person:${email}`,
      scopes: ["read", "submit", "operate"],
      login: { role: "operator", homeOrgId: orgId },
    });
    expect((await audited()).at(-1)).toMatchObject({
      action: "login.create",
      actor: `person:${email}`,
      details: { method: "password", address: stranger.address },
    });
    expect(await reasonOf(authenticate("eyJhbGciOiJub25lIn0.e30."))).toBe("KEY_INVALID");
    expect(c.people.brake.size).toBeGreaterThan(0);
  });

  test("has one answer for an unknown e-mail and a wrong password", async () => {
    const { c, create, email } = await peopleBench(db);
    const person = await create();
    const errors = [];
    for (const given of [person.email, email(), "no e-mail"]) {
      const tried = logInByPassword(c, { email: given, password: "wrong" }, { ...stranger, address: "" });
      errors.push(await tried.catch((error: unknown) => error));
    }
    const bodies = errors.map((error) => {
      const { code, reason, message, details, suggestion, violations } = error as Record<string, unknown>;
      return { code, reason, message, details, suggestion, violations };
    });
    expect(bodies[0]).toMatchObject({ code: "unauthenticated", reason: "LOGIN_INVALID" });
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1);
  });

  test("hashes a password anew that was hashed at another cost", async () => {
    const bench = await peopleBench(db);
    const { email, personId } = await bench.create();
    const { c } = await peopleBench(db, { passwordCost: 11 });
    const read = async () =>
      (await db.admin`select password_hash from muster.people where person_id = ${personId}`)[0]?.[
        "password_hash"
      ];
    expect(await read()).toMatch(/^scrypt:10:/);
    await logInByPassword(c, { email, password: goodPassword }, stranger);
    expect(await read()).toMatch(/^scrypt:11:/);
    await logInByPassword(bench.c, { email, password: goodPassword }, stranger);
  });

  test("is slowed by account, and who was there before is not kept out", async () => {
    const { c, create, logIn, later } = await peopleBench(db);
    const { email } = await create();
    await logIn(email);
    const guess = (address: string) =>
      reasonOf(logInByPassword(c, { email, password: "wrong" }, { ...stranger, address }));
    for (let n = 0; n < 5; n++) expect(await guess(`198.51.100.${n}`)).toBe("LOGIN_INVALID");
    const refused = logInByPassword(
      c,
      { email, password: goodPassword },
      { ...stranger, address: "198.51.100.9" },
    );
    await expect(refused).rejects.toMatchObject({ reason: "RATE_LIMITED", retryAfterMs: 1_000 });
    await logIn(email);
    later(1_000);
    expect(await guess("198.51.100.9")).toBe("LOGIN_INVALID");
    const again = logInByPassword(c, { email, password: "wrong" }, { ...stranger, address: "198.51.100.9" });
    await expect(again).rejects.toMatchObject({ reason: "RATE_LIMITED", retryAfterMs: 2_000 });
  });

  test("is slowed by address, for accounts that there are not, too", async () => {
    const { c, email } = await peopleBench(db);
    const guess = () => reasonOf(logInByPassword(c, { email: email(), password: "wrong" }, stranger));
    for (let n = 0; n < 20; n++) expect(await guess()).toBe("LOGIN_INVALID");
    expect(await guess()).toBe("RATE_LIMITED");
  });

  test("many tries at once are no way around it", async () => {
    const { c, create } = await peopleBench(db);
    const { email } = await create();
    const tries = Array.from({ length: 50 }, (_, n) =>
      reasonOf(logInByPassword(c, { email, password: "wrong" }, { ...stranger, address: `203.0.113.${n}` })),
    );
    const reasons = await Promise.all(tries);
    expect(reasons.filter((reason) => reason === "LOGIN_INVALID")).toHaveLength(5);
    expect(reasons.filter((reason) => reason === "RATE_LIMITED")).toHaveLength(45);
  });
});

describe("refreshing", () => {
  test("gives the next token, and takes the one before for 30 s with the same answer", async () => {
    const { c, create, logIn, authenticate } = await peopleBench(db);
    const { email } = await create();
    const first = await logIn(email);
    const [second, third] = await Promise.all([
      refreshLogin(c, first.refreshToken, "r"),
      refreshLogin(c, first.refreshToken, "r"),
    ]);
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect(third.refreshToken).toBe(second.refreshToken);
    expect(await authenticate(third.accessToken)).toMatchObject({ actor: `person:${email}` });
    await db.advanceClock(29_000);
    expect((await refreshLogin(c, first.refreshToken, "r")).refreshToken).toBe(second.refreshToken);
  });

  test("with an older one ends the login, and says so in the audit log", async () => {
    const { c, create, logIn, authenticate, audited } = await peopleBench(db);
    const { email } = await create();
    const first = await logIn(email);
    const second = await refreshLogin(c, first.refreshToken, "r");
    await db.advanceClock(31_000);
    expect(await reasonOf(refreshLogin(c, first.refreshToken, "r"))).toBe("LOGIN_ENDED");
    expect(await reasonOf(refreshLogin(c, second.refreshToken, "r"))).toBe("LOGIN_ENDED");
    expect(await reasonOf(authenticate(second.accessToken))).toBe("KEY_INVALID");
    expect((await audited()).at(-1)).toMatchObject({
      action: "login.end",
      reason: "a refresh token was used again",
    });
  });

  test("within the grace ends the login too, when it is not the last but one", async () => {
    const { c, create, logIn } = await peopleBench(db);
    const first = await logIn((await create()).email);
    const second = await refreshLogin(c, first.refreshToken, "r");
    await refreshLogin(c, second.refreshToken, "r");
    expect(await reasonOf(refreshLogin(c, first.refreshToken, "r"))).toBe("LOGIN_ENDED");
    expect(await reasonOf(refreshLogin(c, second.refreshToken, "r"))).toBe("LOGIN_ENDED");
  });

  test("refuses what is forged, garbled or of a login that nobody used", async () => {
    const { c, create, logIn } = await peopleBench(db, { refreshTokenTtlMs: 60_000 });
    const { refreshToken } = await logIn((await create()).email);
    const last = refreshToken.endsWith("A") ? "B" : "A";
    for (const text of ["", "x".repeat(5_000), "mk_refresh.a.b", `${refreshToken.slice(0, -2)}${last}A`]) {
      expect(await reasonOf(refreshLogin(c, text, "r"))).toBe("LOGIN_ENDED");
    }
    await db.advanceClock(61_000);
    expect(await reasonOf(refreshLogin(c, refreshToken, "r"))).toBe("LOGIN_ENDED");
  });

  test("leaves nothing in the database that is a token", async () => {
    const { create, logIn } = await peopleBench(db);
    const { accessToken, refreshToken } = await logIn((await create()).email);
    const secret = refreshToken.split(".")[2] ?? "";
    const [dump] =
      await db.admin`select (select json_agg(l)::text from muster.logins l) as logins, (select json_agg(a)::text from muster.audit_log a) as audited`;
    expect(JSON.stringify(dump)).not.toContain(secret);
    expect(JSON.stringify(dump)).not.toContain(accessToken.split(".")[2]);
  });
});

describe("ending logins", () => {
  test("logging out ends this one at once, or all", async () => {
    const { c, create, logIn, authenticate } = await peopleBench(db);
    const { email } = await create();
    const [one, two, three] = [await logIn(email), await logIn(email), await logIn(email)];
    expect(await logOut(c, one.caller, { isAll: false })).toBe(1);
    expect(await reasonOf(authenticate(one.accessToken))).toBe("KEY_INVALID");
    expect(await logOut(c, one.caller, { isAll: false })).toBe(0);
    expect(await logOut(c, two.caller, { isAll: true })).toBe(2);
    expect(await reasonOf(authenticate(three.accessToken))).toBe("KEY_INVALID");
    expect(await reasonOf(refreshLogin(c, three.refreshToken, "r"))).toBe("LOGIN_ENDED");
  });

  test("another password ends the other logins alone", async () => {
    const { c, create, logIn, authenticate, audited } = await peopleBench(db);
    const { email, personId } = await create();
    const [mine, other] = [await logIn(email), await logIn(email)];
    const before = await audited();
    const change = (password: string, newPassword: string) =>
      changePassword(c, mine.caller, { password, newPassword });
    expect(await reasonOf(change("wrong", "another plain sentence"))).toBe("LOGIN_INVALID");
    expect(await reasonOf(change(goodPassword, email))).toBe("VALIDATION_FAILED");
    expect(await reasonOf(change(goodPassword, goodPassword))).toBe("VALIDATION_FAILED");
    expect(await change(goodPassword, "another plain sentence")).toBe(1);
    // What was refused wrote none.
    expect((await audited()).slice(before.length)).toEqual([
      expect.objectContaining({
        action: "password.change",
        actor: `person:${email}`,
        target: encodeId("person", personId),
        details: { endedLogins: 1, hadPassword: true },
      }),
    ]);
    expect(await reasonOf(authenticate(other.accessToken))).toBe("KEY_INVALID");
    expect(await authenticate(mine.accessToken)).toMatchObject({ actor: `person:${email}` });
    expect(await reasonOf(logIn(email))).toBe("LOGIN_INVALID");
  });

  test("a role and a disabling take effect within a second", async () => {
    const { c, admin, create, logIn, authenticate, later } = await peopleBench(db);
    const { email } = await create("operator");
    const { accessToken } = await logIn(email);
    await setRole(c, admin, { person: email, role: "viewer", reason: "" });
    later(1_000);
    expect((await authenticate(accessToken)).scopes).toEqual(["read"]);
    await setDisabled(c, admin, { person: email, isDisabled: true, reason: "" });
    later(1_000);
    expect(await authenticate(accessToken)).toMatchObject({ scopes: [], login: { role: null } });
  });

  test("streams end that a login, a role or an access key holds no longer", async () => {
    const { c, admin, create, logIn } = await peopleBench(db);
    const { email } = await create("operator");
    const [kept, gone] = [await logIn(email), await logIn(email)];
    const ended: string[] = [];
    for (const [name, { caller }] of Object.entries({ kept, gone })) {
      c.streams.open({ caller, end: () => ended.push(name) });
    }
    await c.streams.poll(db.database.sweep);
    expect(ended).toEqual([]);
    // As if another coordinator had done it: nothing here is told.
    await db.admin`update muster.logins set ended_at = now() where login_id = ${gone.caller.keyId}`;
    await c.streams.poll(db.database.sweep);
    expect(ended).toEqual(["gone"]);
    await setRole(c, admin, { person: email, role: "viewer", reason: "" });
    await c.streams.poll(db.database.sweep);
    expect(ended).toEqual(["gone", "kept"]);
    expect(c.streams.size).toBe(0);
  });
});
