import { sql } from "drizzle-orm";
import { afterAll, beforeAll, test } from "vitest";
import { readJobIds } from "../../server/store/job-lists.ts";
import { readJobs } from "../../server/store/job-views.ts";
import { readOrg } from "../../server/store/snapshot.ts";
import { createStatusReader } from "../../server/domain/status.ts";
import { createTestDatabase, testCoordinator, type TestDatabase } from "../support/database.ts";
let db: TestDatabase;
beforeAll(async () => { db = await createTestDatabase(); });
afterAll(() => db.close());
const anything = { states: [] as never[], kind: null, queue: null, batchId: null, project: null, labels: {}, workerId: null, parentJobId: null };
test("scale", async () => {
  const org = await db.orgId();
  const N = 200_000;
  const now = Date.now();
  await db.admin.unsafe(`
   create temp table ids as select i, (lpad(to_hex(${now}::bigint - 86400000 + i*600), 12, '0')) as h from generate_series(1, ${N}) i;
   create temp table j as select i, (substr(h,1,8)||'-'||substr(h,9,4)||'-7000-8000-'||lpad(to_hex(i),12,'0'))::uuid as job_id from ids;
   insert into muster.jobs (org_id, job_id, points, lease_ttl_ms, reclaim_after_ms, max_attempts, backoff_initial_ms, backoff_max_ms, backoff_factor, priority, exclusive, at_most_once, opens_pull_request, kind, queue, title, payload, submitted_by)
   select '${org}', job_id, 1, 14400000, 30000, 3, 5000, 600000, 2, 128, false, false, true, case when i = 5 then 'rare' else 'k' end, 'default', 't', '{}', 'x' from j;
   insert into muster.job_queue (org_id, job_id, shape_id, points, reclaim_after_ms, lease_ttl_ms, state, priority, worker_id, granted_at)
   select '${org}', job_id, 1, 1, 1, 1, case when i % 1000 = 0 then 5 else 3 end, 128, case when i % 1000 = 0 then gen_random_uuid() end, now() from j where i > ${N / 2};
   insert into muster.attempts (org_id, job_id, attempt, generation, outcome, state, failures, losses, releases, final)
   select '${org}', job_id, 1, 1, 1, case when i % 5000 = 0 then 9 else 7 end, 0,0,0,true from j where i <= ${N / 2};
  `).simple();
  for (const analyze of [false, true]) {
    if (analyze) await db.admin.unsafe("analyze");
    for (const [name, f] of Object.entries({ all: {}, running: { states: [5] }, ready: { states: [3] }, dead: { states: [9] }, succeeded: { states: [7] }, rare: { kind: "rare" }, none: { kind: "none" }, mixed: {states: [5, 9]} })) {
      let t = performance.now(); let pages = 0; let next: string | null = null; let got = 0;
      const r = await readOrg(db.database.app, org, async (tx) => {
        const page = await readJobIds(tx, org, { ...anything, ...f } as never, { before: next, limit: 50 });
        const t2 = performance.now();
        const rows = await readJobs(tx, org, page.ids, { isFull: false });
        return { page, rows, list: t2 - t };
      });
      console.log(analyze, name, "ids", r.page.ids.length, "next", r.page.next !== null, "list ms", r.list.toFixed(1), "all ms", (performance.now() - t).toFixed(1));
    }
    const s = createStatusReader(testCoordinator(db));
    const t = performance.now();
    const v = await s.readStatus({ orgId: org }, { isDetailed: true });
    console.log("status", performance.now() - t, v.databaseMs, v.jobs, v.running.length);
  }
}, 120_000);
