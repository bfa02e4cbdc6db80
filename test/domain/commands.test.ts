import { afterAll, beforeAll, expect, test } from "vitest";
import { resumeWorker } from "../../server/domain/commands.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { attachWorker } from "../support/fleet.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

test("resuming a quarantined worker forgets what it was quarantined for", async () => {
  const c = testCoordinator(db);
  const orgId = await db.orgId();
  const { workerId } = (await attachWorker(c, orgId, { name: "blamed" })).link;
  await db.admin`update muster.workers set quarantined_at = now(), quarantine_reason = 'losses'
    where worker_id = ${workerId}`;
  await db.admin`update muster.links set flips = 3, flips_since = now() where worker_id = ${workerId}`;
  await db.admin`insert into muster.worker_losses (org_id, worker_id, job_id)
    values (${orgId}, ${workerId}, ${db.newId()})`;
  await resumeWorker(c, testCaller(orgId), { workerId, name: null, reason: "it was the rack" });
  const [left] = await db.admin`
    select flips, (select count(*)::int from muster.worker_losses where worker_id = ${workerId}) as losses
    from muster.links where worker_id = ${workerId}`;
  expect(left).toEqual({ flips: 0, losses: 0 });
});
