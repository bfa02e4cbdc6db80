import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attachLink } from "../../server/domain/links.ts";
import { renewLinks, touchLinks } from "../../server/store/links.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

describe("renewing links", () => {
  const seen = async (workerId: string) =>
    Number(
      (
        await db.admin`select extract(epoch from muster.muster_clock() - seen_at)::float8 as age
        from muster.links where worker_id = ${workerId}`
      )[0]?.["age"],
    );

  test("takes the newer of two links of one worker for its own, in whatever order they come", async () => {
    const orgId = await db.orgId();
    const { caller, link } = await attachWorker(c, orgId, { name: "twice" });
    const newer = await attachLink(c, caller, hello());
    const [old, current] = [link, { ...newer, orgId }];
    expect(await renewLinks(db.database.app, [old, current])).toEqual(new Set([current]));
    expect(await renewLinks(db.database.app, [current, old])).toEqual(new Set([current]));
    expect(await renewLinks(db.database.app, [old])).toEqual(new Set());
  });

  test("counts a worker that waits with its Hello as seen, if its boot is the link's", async () => {
    const orgId = await db.orgId();
    const own = hello();
    const { link } = await attachWorker(c, orgId, { name: "waiting", hello: own });
    await db.advanceClock(20_000);
    await touchLinks(db.database.app, [{ orgId, workerId: link.workerId, bootId: randomUUID() }]);
    expect(await seen(link.workerId)).toBeGreaterThan(19);
    await touchLinks(db.database.app, [{ orgId, workerId: link.workerId, bootId: own.bootId }]);
    expect(await seen(link.workerId)).toBeLessThan(5);
  });
});
