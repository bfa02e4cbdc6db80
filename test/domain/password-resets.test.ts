import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { logInByPassword } from "../../server/domain/accounts.ts";
import { encodeId } from "../../server/domain/ids.ts";
import {
  acceptInvitation,
  createInvitation,
  listInvitations,
  revokeInvitation,
} from "../../server/domain/invitations.ts";
import { createPasswordReset, resetPassword } from "../../server/domain/password-resets.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { goodPassword, type PeopleBench, peopleBench, reasonOf, stranger } from "../support/people.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const newPassword = "another plain sentence";
const nowhere = { ...stranger, address: "" };

function codeFor({ c, admin }: PeopleBench, person: string, ttlMs: number | null = null) {
  return createPasswordReset(c, admin, { person, reason: "forgot it", ttlMs });
}

describe("a code for a lost password", () => {
  test("sets it once, however many try at once, and ends every login", async () => {
    const bench = await peopleBench(db);
    const { c, create, logIn, authenticate, audited } = bench;
    const { email, personId } = await create();
    const { accessToken } = await logIn(email);
    const { code } = await codeFor(bench, email);
    const before = await audited();
    const use = () => reasonOf(resetPassword(c, { code, newPassword }, nowhere));
    const outcomes = await Promise.all([use(), use(), use()]);
    expect(outcomes.toSorted()).toEqual(["CODE_NOT_FOUND", "CODE_NOT_FOUND", "none"]);
    expect(await use()).toBe("CODE_NOT_FOUND");
    expect((await audited()).slice(before.length)).toEqual([
      expect.objectContaining({
        action: "password.reset",
        actor: `person:${email}`,
        target: encodeId("person", personId),
        details: { endedLogins: 1, address: "" },
      }),
    ]);
    expect(await reasonOf(authenticate(accessToken))).toBe("KEY_INVALID");
    expect(await reasonOf(logIn(email))).toBe("LOGIN_INVALID");
    expect(await reasonOf(logInByPassword(c, { email, password: newPassword }, nowhere))).toBe("none");
  });

  test("is no good after its time, after the password was changed, when it was forged, and for another", async () => {
    const bench = await peopleBench(db);
    const { c, create } = bench;
    const [mine, other] = [await create(), await create()];
    const use = (code: string) => reasonOf(resetPassword(c, { code, newPassword }, nowhere));
    const { code } = await codeFor(bench, mine.email);
    const theirs = (await codeFor(bench, other.email)).code;
    const spliced = [code.split(".")[0], theirs.split(".")[1], code.split(".")[2]].join(".");
    const changed = `${code.slice(0, -2)}${code.endsWith("AA") ? "BB" : "AA"}`;
    for (const wrong of [spliced, changed, "mk_reset.x.y", ""])
      expect(await use(wrong)).toBe("CODE_NOT_FOUND");
    const second = await codeFor(bench, mine.email);
    expect(await use(second.code)).toBe("none");
    expect(await use(code)).toBe("CODE_NOT_FOUND");
    const short = await codeFor(bench, other.email, 60_000);
    await db.advanceClock(61_000);
    expect(await use(short.code)).toBe("CODE_NOT_FOUND");
  });

  test("is refused for a bad password without being spent, and is in no table", async () => {
    const bench = await peopleBench(db);
    const { email } = await bench.create();
    const { code } = await codeFor(bench, email);
    const use = (password: string) =>
      reasonOf(resetPassword(bench.c, { code, newPassword: password }, nowhere));
    expect(await use("short")).toBe("VALIDATION_FAILED");
    const log = await db.admin`select json_agg(a)::text as rows from muster.audit_log a`;
    expect(String(log[0]?.["rows"])).not.toContain(code.split(".")[2]);
    expect(await use(newPassword)).toBe("none");
  });

  test("is not made for who has the account elsewhere, is nobody here, or for longer than a week", async () => {
    const [home, other] = [await peopleBench(db), await peopleBench(db)];
    const { email } = await home.create();
    expect(await reasonOf(codeFor(other, email))).toBe("PERSON_NOT_FOUND");
    const { code } = await createInvitation(other.c, other.admin, { email, role: "viewer", ttlMs: null });
    await acceptInvitation(home.c, (await home.logIn(email)).caller, code);
    expect(await reasonOf(codeFor(other, email))).toBe("ACCOUNT_ELSEWHERE");
    expect(await reasonOf(codeFor(home, email, 8 * 86_400_000))).toBe("VALIDATION_FAILED");
    expect(await reasonOf(logInByPassword(home.c, { email, password: goodPassword }, nowhere))).toBe("none");
  });
});

describe("invitations", () => {
  test("are listed while they can be used, page by page, and no longer good once revoked", async () => {
    const { c, admin, orgId, audited } = await peopleBench(db);
    const made: { readonly code: string }[] = [];
    for (const email of ["a@example.test", "b@example.test", ""]) {
      made.push(await createInvitation(c, admin, { email, role: "viewer", ttlMs: null }));
    }
    await createInvitation(c, admin, { email: "", role: "admin", ttlMs: 60_000 });
    await db.advanceClock(61_000);
    const first = await listInvitations(c, admin, { pageSize: 2, pageToken: "" });
    const last = await listInvitations(c, admin, { pageSize: 2, pageToken: first.nextPageToken });
    expect([...first.items, ...last.items].map(({ email }) => email)).toEqual([
      "a@example.test",
      "b@example.test",
      "",
    ]);
    const [open] = last.items;
    const revoke = () =>
      reasonOf(revokeInvitation(c, admin, { invitationId: open?.invitationId ?? "", reason: "left" }));
    expect([await revoke(), await revoke()]).toEqual(["none", "INVITATION_NOT_FOUND"]);
    expect((await audited(orgId)).at(-1)).toMatchObject({
      action: "invitation.revoke",
      reason: "left",
      details: { email: "", role: "viewer" },
    });
    const other = await peopleBench(db);
    const { caller } = await other.logIn((await other.create()).email);
    expect(await reasonOf(acceptInvitation(other.c, caller, made[2]?.code ?? ""))).toBe("CODE_NOT_FOUND");
  });
});
