import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { register } from "../../server/domain/accounts.ts";
import { createApiKey } from "../../server/domain/api-keys.ts";
import { acceptInvitation, createInvitation } from "../../server/domain/invitations.ts";
import {
  getPerson,
  listPeople,
  readSelf,
  removePerson,
  setDisabled,
  setRole,
} from "../../server/domain/people.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { goodPassword, peopleBench, reasonOf, stranger } from "../support/people.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const asked = { name: "Ada", password: goodPassword, invitation: "" };

describe("registering", () => {
  test("is off unless configured, and needs a code where it is for the invited", async () => {
    for (const [registration, invitation] of [
      ["off", ""],
      ["off", "mk_invite.x.y"],
      ["invited", ""],
    ] as const) {
      const { c, email } = await peopleBench(db, { registration });
      const refused = register(c, { ...asked, email: email(), invitation }, stranger);
      expect(await reasonOf(refused)).toBe("REGISTRATION_OFF");
    }
  });

  test("refuses all that is wrong at once, and repeats no password", async () => {
    const { c } = await peopleBench(db, { registration: "open" });
    const password = "password1234";
    const error = await register(c, { ...asked, email: "nobody", name: "\u0007", password }, stranger).catch(
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({
      reason: "VALIDATION_FAILED",
      violations: [{ field: "email" }, { field: "name" }, { field: "password" }],
    });
    expect(JSON.stringify(error) + String(error)).not.toContain(password);
  });

  test("where it is open makes a viewer of the org default, whom nobody has vouched for; once an e-mail", async () => {
    const { c, email } = await peopleBench(db, { registration: "open" });
    await db.admin`insert into muster.orgs (org_id, name) values (${c.newId()}, 'default') on conflict do nothing`;
    const given = { ...asked, email: email().toUpperCase() };
    const { person } = await register(c, given, stranger);
    expect(person).toMatchObject({ email: given.email.toLowerCase(), role: "viewer", name: "Ada" });
    const [row] =
      await db.admin`select vouched_at, password_hash from muster.people where person_id = ${person.personId}`;
    expect(row).toMatchObject({ vouched_at: null, password_hash: expect.stringMatching(/^scrypt:10:/) });
    expect(JSON.stringify(row)).not.toContain(goodPassword);
    expect(await reasonOf(register(c, given, stranger))).toBe("EMAIL_TAKEN");
  });

  test("by a code makes a member of its org, with its role; the code is used once, however many try", async () => {
    const { c, admin, orgId, email, audited } = await peopleBench(db, { registration: "invited" });
    const { code } = await createInvitation(c, admin, { email: "", role: "operator", ttlMs: null });
    const outcomes = await Promise.all(
      [1, 2, 3].map(() => reasonOf(register(c, { ...asked, email: email(), invitation: code }, stranger))),
    );
    expect(outcomes.toSorted()).toEqual(["CODE_NOT_FOUND", "CODE_NOT_FOUND", "none"]);
    const { items } = await listPeople(c, admin, { pageSize: 0, pageToken: "" });
    expect(items.map(({ role }) => role)).toEqual(["operator"]);
    expect((await audited()).map(({ action }) => action)).toEqual([
      "invitation.create",
      "person.register",
      "login.create",
    ]);
    const [dump] =
      await db.admin`select json_agg(i)::text as rows from muster.invitations i where org_id = ${orgId}`;
    expect(String(dump?.["rows"])).not.toContain(code.split(".")[2]);
  });

  test("by a code that has ended, is for somebody else, or was garbled is CODE_NOT_FOUND", async () => {
    const { c, admin, email } = await peopleBench(db, { registration: "invited" });
    const own = email();
    const { code } = await createInvitation(c, admin, { email: own, role: "admin", ttlMs: 60_000 });
    const tried = (given: string, invitation: string) =>
      reasonOf(register(c, { ...asked, email: given, invitation }, { ...stranger, address: "" }));
    const last = code.endsWith("A") ? "B" : "A";
    expect(await tried(email(), code)).toBe("CODE_NOT_FOUND");
    expect(await tried(own, `${code.slice(0, -1)}${last}`)).toBe("CODE_NOT_FOUND");
    expect(await tried(own, "garbage")).toBe("CODE_NOT_FOUND");
    await db.advanceClock(61_000);
    expect(await tried(own, code)).toBe("CODE_NOT_FOUND");
  });
});

describe("a person in two orgs", () => {
  test("names the org of a call, and has the role of each; another org is not found", async () => {
    const [home, other, third] = [await peopleBench(db), await peopleBench(db), await peopleBench(db)];
    const { email } = await home.create("viewer");
    const { caller, accessToken } = await home.logIn(email);
    const { code } = await createInvitation(other.c, other.admin, { email, role: "admin", ttlMs: null });
    expect(await acceptInvitation(home.c, caller, code)).toEqual({ orgId: other.orgId, role: "admin" });
    expect(await reasonOf(acceptInvitation(home.c, caller, code))).toBe("CODE_NOT_FOUND");
    home.later(1_000);
    expect(await home.authenticate(accessToken)).toMatchObject({ scopes: [], login: { role: null } });
    const named = await home.authenticate(accessToken, `org ${other.orgId}`);
    expect(named).toMatchObject({ orgId: other.orgId, login: { role: "admin", homeOrgId: home.orgId } });
    expect(named.scopes).toContain("admin");
    expect((await home.authenticate(accessToken, `org ${home.orgId}`)).scopes).toEqual(["read"]);
    for (const org of [`org ${third.orgId}`, "nowhere", "org_garbage"]) {
      await expect(home.authenticate(accessToken, org)).rejects.toMatchObject({ reason: "ORG_NOT_FOUND" });
    }
    expect((await other.audited()).at(-1)).toMatchObject({
      action: "invitation.accept",
      actor: `person:${email}`,
    });
    expect(await readSelf(home.c, named)).toMatchObject({ person: { email, role: "admin" } });
  });
});

describe("members of an org", () => {
  test("are listed by e-mail, page by page; those of another org are not found", async () => {
    const { c, admin, create } = await peopleBench(db);
    for (const name of ["cy", "abe", "bob"]) await create("viewer", `${name}-${c.newId()}@example.test`);
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await listPeople(c, admin, { pageSize: 2, pageToken });
      names.push(...page.items.map(({ email }) => email.split("-", 1)[0] ?? ""));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(names).toEqual(["abe", "bob", "cy"]);
    const theirs = await (await peopleBench(db)).create();
    for (const person of [theirs.email, "nobody@example.test"]) {
      expect(await reasonOf(getPerson(c, admin, person))).toBe("PERSON_NOT_FOUND");
      expect(await reasonOf(setRole(c, admin, { person, role: "admin", reason: "" }))).toBe(
        "PERSON_NOT_FOUND",
      );
    }
  });

  test("have their changes audited with before and after, once", async () => {
    const { c, admin, create, audited } = await peopleBench(db);
    const { email } = await create();
    const change = { person: email, role: "operator" as const, reason: "on call" };
    expect(await setRole(c, admin, change)).toMatchObject({ role: "operator" });
    await setRole(c, admin, change);
    await setDisabled(c, admin, { person: email, isDisabled: true, reason: "" });
    await setDisabled(c, admin, { person: email, isDisabled: false, reason: "" });
    await removePerson(c, admin, { person: email, reason: "left" });
    const rows = (await audited()).filter(({ action }) => action !== "person.create");
    expect(rows).toMatchObject([
      { action: "person.role", reason: "on call", details: { before: "viewer", after: "operator" } },
      { action: "person.disable" },
      { action: "person.enable" },
      { action: "person.remove", reason: "left" },
    ]);
  });

  test("the last admin stays, unless there is an admin key; also for two who remove each other", async () => {
    const { c, admin, create } = await peopleBench(db);
    const [one, two] = [await create("admin"), await create("admin")];
    const both = await Promise.all([
      reasonOf(removePerson(c, admin, { person: one.email, reason: "" })),
      reasonOf(setRole(c, admin, { person: two.email, role: "viewer", reason: "" })),
    ]);
    expect(both.toSorted()).toEqual(["LAST_ADMIN", "none"]);
    const left = both[0] === "none" ? two.email : one.email;
    expect(await reasonOf(setDisabled(c, admin, { person: left, isDisabled: true, reason: "" }))).toBe(
      "LAST_ADMIN",
    );
    await createApiKey(c, admin, { name: "spare", scopes: ["admin"], expiresAt: null });
    await removePerson(c, admin, { person: left, reason: "" });
  });
});
