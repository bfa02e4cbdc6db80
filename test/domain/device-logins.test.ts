import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { changePassword } from "../../server/domain/accounts.ts";
import {
  approveDeviceLogin,
  finishDeviceLogin,
  startDeviceLogin,
} from "../../server/domain/device-logins.ts";
import { acceptInvitation, createInvitation } from "../../server/domain/invitations.ts";
import { createTestDatabase, type TestDatabase, testCaller } from "../support/database.ts";
import { goodPassword, peopleBench, reasonOf, stranger } from "../support/people.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const nowhere = { ...stranger, address: "" };

describe("the login of a machine without a browser", () => {
  test("waits, is approved by somebody who is logged in, and is handed out once", async () => {
    const { c, create, logIn, authenticate, audited } = await peopleBench(db);
    const { email } = await create("operator");
    const { caller } = await logIn(email);
    const { deviceCode, userCode, intervalMs } = await startDeviceLogin(c, nowhere);
    expect(userCode).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    expect(intervalMs).toBe(5_000);
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toEqual({
      state: "authorization_pending",
      intervalMs: 5_000,
    });
    const typed = userCode.toLowerCase().replace("-", " ");
    expect(await approveDeviceLogin(c, caller, { userCode: typed, person: "" })).toBe(email);
    expect(await reasonOf(approveDeviceLogin(c, caller, { userCode, person: "" }))).toBe("CODE_NOT_FOUND");
    const answer = await finishDeviceLogin(c, deviceCode, nowhere);
    if (answer.state !== "approved") throw new Error(answer.state);
    expect(await authenticate(answer.tokens.accessToken)).toMatchObject({
      actor: `person:${email}`,
      login: { role: "operator" },
    });
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toEqual({ state: "expired_token" });
    expect((await audited()).map(({ action }) => action)).toContain("login.approve");
  });

  test("is slowed when it asks too soon, and ends", async () => {
    const { c } = await peopleBench(db);
    const { deviceCode } = await startDeviceLogin(c, nowhere);
    await finishDeviceLogin(c, deviceCode, nowhere);
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toEqual({
      state: "slow_down",
      intervalMs: 10_000,
    });
    await db.advanceClock(6_000);
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toEqual({
      state: "slow_down",
      intervalMs: 15_000,
    });
    await db.advanceClock(15_000);
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toMatchObject({ state: "authorization_pending" });
    await db.advanceClock(600_000);
    expect(await finishDeviceLogin(c, deviceCode, nowhere)).toEqual({ state: "expired_token" });
    expect(await finishDeviceLogin(c, "garbage", nowhere)).toEqual({ state: "expired_token" });
  });

  test("guesses of codes are slowed by who guesses", async () => {
    const { c, admin, create } = await peopleBench(db);
    const { email } = await create();
    const guess = () => reasonOf(approveDeviceLogin(c, admin, { userCode: "BBBB-BBBB", person: email }));
    for (let n = 0; n < 10; n++) expect(await guess()).toBe("CODE_NOT_FOUND");
    expect(await guess()).toBe("RATE_LIMITED");
  });

  test("approved by a key is good for its org alone, and changes nothing of the account", async () => {
    const [home, other] = [await peopleBench(db), await peopleBench(db)];
    const { email } = await home.create("viewer");
    const { caller } = await home.logIn(email);
    const { code } = await createInvitation(other.c, other.admin, { email, role: "operator", ttlMs: null });
    await acceptInvitation(home.c, caller, code);
    const { deviceCode, userCode } = await startDeviceLogin(home.c, nowhere);
    const reader = testCaller(other.orgId, { scopes: ["read"] });
    expect(await reasonOf(approveDeviceLogin(home.c, reader, { userCode, person: email }))).toBe(
      "SCOPE_MISSING",
    );
    await approveDeviceLogin(home.c, other.admin, { userCode, person: email });
    const answer = await finishDeviceLogin(home.c, deviceCode, nowhere);
    if (answer.state !== "approved") throw new Error(answer.state);
    const { accessToken } = answer.tokens;
    const limited = await home.authenticate(accessToken);
    expect(limited).toMatchObject({
      orgId: other.orgId,
      login: { onlyOrgId: other.orgId, role: "operator" },
    });
    expect(await reasonOf(home.authenticate(accessToken, `org ${home.orgId}`))).toBe("ORG_NOT_FOUND");
    const change = { password: goodPassword, newPassword: "another plain sentence" };
    expect(await reasonOf(changePassword(home.c, limited, change))).toBe("LOGIN_LIMITED");
  });
});
