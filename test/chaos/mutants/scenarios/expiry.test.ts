import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Expiry } from "../../../../server/maintain/expiry.ts";
import { openDatabase, type Role } from "../../../../server/store/database.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import { openSwitch } from "../../../support/switch.ts";
import { RecordedRun, wrongIn } from "./recorded-run.ts";

const run = promisify(execFile);
const fileOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const begin = async () => RecordedRun.begin({ c: testCoordinator(db), admin: db.admin }, await db.orgId());

describe("expiry", () => {
  test.each([
    ["an hour ahead", 3_600_000],
    ["an hour behind", -3_600_000],
  ])("does not ask the clock of its process, which is %s", async (_, aheadMs) => {
    const recorded = await begin();
    await recorded.submit();
    const grant = await recorded.startNext(await recorded.attach("worker"));
    const { stdout } = await run(
      process.execPath,
      [
        "--import",
        fileOf("./shifted-date.ts"),
        fileOf("./expiry-process.ts"),
        JSON.stringify({ urls: db.urls, orgId: recorded.orgId }),
      ],
      { env: { ...process.env, MUSTER_TEST_CLOCK_AHEAD_MS: String(aheadMs) } },
    );
    const answer = await recorded.finish(grant);
    expect(Math.abs(JSON.parse(stdout).nowMs - aheadMs - Date.now())).toBeLessThan(60_000);
    expect(answer.status).toBe("committed");
    expect(wrongIn(await recorded.verdict())).toEqual({});
  });

  test("waits after an outage of the database: it was us who were broken", async () => {
    const recorded = await begin();
    await recorded.submit();
    const grant = await recorded.startNext(await recorded.attach("worker"));
    const server = new URL(db.url);
    const road = await openSwitch(server.host);
    const through = (url: string) => Object.assign(new URL(url), { host: road.address }).href;
    const urls: Record<Role, string> = {
      muster_app: through(db.urls.muster_app),
      muster_hot: through(db.urls.muster_hot),
      muster_sweep: through(db.urls.muster_sweep),
    };
    const database = openDatabase({ urls, appConnections: 1, hotConnections: 1 });
    const c = testCoordinator({ ...db, database });
    let nowMs = 0;
    const expiry = new Expiry(c, () => nowMs);
    const passMs = 10_000;
    // The wait after its own start is over, and no pass was late: only the outage can make it wait.
    for (; nowMs <= c.config.outageGraceMs; nowMs += passMs) await expiry.pass(recorded.orgId);
    road.pointTo(null);
    road.cut();
    await expect(expiry.pass(recorded.orgId)).rejects.toThrow();
    // Meanwhile nobody could renew a link. The first pass that reaches the database again takes nothing.
    await db.advanceClock(60_000);
    road.pointTo(server.host);
    for (nowMs += passMs; ; ) {
      if (
        await expiry.pass(recorded.orgId).then(
          () => true,
          () => false,
        )
      )
        break;
    }
    const answer = await recorded.finish(grant);
    await database.close();
    await road.close();
    expect(answer.status).toBe("committed");
    expect(wrongIn(await recorded.verdict())).toEqual({});
  });
});
