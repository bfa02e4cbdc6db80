import { randomUUID } from "node:crypto";
import postgres, { type Sql } from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  countDown,
  countEdges,
  deleteEdges,
  holdLive,
  markParents,
  readEdges,
} from "../../server/store/dependencies.ts";
import { finishLeases, lockJobs, lockLeases } from "../../server/store/leases.ts";
import { type Call, call, setOrg } from "../../server/store/statement.ts";
import { claimOf } from "../support/claims.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

/** A node of a plan. */
interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Actual Rows"?: number;
  readonly Plans?: readonly PlanNode[];
}

const shape = "7";
const otherOrgs = 300;
const bigOrgJobs = 20_000;

let db: TestDatabase;
let hot: Sql;
let bigOrg: string;

beforeAll(async () => {
  db = await createTestDatabase();
  // Statistics are what a test sets, whenever the daemon would come.
  await db.admin`alter table muster.job_queue set (autovacuum_enabled = false)`;
  hot = postgres(db.urls.muster_hot, { max: 1, onnotice: () => {} });
  bigOrg = await db.orgId();
});
afterAll(async () => {
  await hot.end();
  await db.close();
});

async function fill(): Promise<void> {
  await db.admin`
    insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
    select ${bigOrg}, gen_random_uuid(), ${shape}, now(), 1, 30000, 14400000, 3, 128 from generate_series(1, ${bigOrgJobs})`;
  await db.admin`
    insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
    select o.org_id, gen_random_uuid(), ${shape}, now(), 1, 30000, 14400000, 3, 128
    from (select gen_random_uuid() as org_id from generate_series(1, ${otherOrgs})) o, generate_series(1, 3)`;
}

/** The nodes of a statement's plan, as the hot role gets it under forced row-level security. */
async function planOf(one: Call, mode: "force_generic_plan" | "force_custom_plan"): Promise<PlanNode[]> {
  return hot.begin(async (tx) => {
    await tx.unsafe(`set local plan_cache_mode = ${mode}; ${setOrg(bigOrg)}`);
    const name = `p_${randomUUID().replaceAll("-", "")}`;
    await tx.unsafe(`prepare ${name} as ${one.statement.text}`);
    const values = one.statement.names.map((key) => literal(one.values[key]));
    const rows = await tx.unsafe(
      `explain (format json, analyze, timing off) execute ${name}(${values.join(", ")})`,
    );
    await tx.unsafe(`deallocate ${name}`);
    const root = rows[0]?.["QUERY PLAN"][0].Plan as PlanNode;
    return flatten(root);
  });
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

function literal(value: unknown): string {
  if (Array.isArray(value)) return `'{${value.map((one) => one ?? "null").join(",")}}'`;
  return `'${String(value)}'`;
}

const claim = () => {
  const workers = [randomUUID(), randomUUID()];
  const slots = Array.from({ length: 100 }, (_, index) => workers[index % 2]);
  return claimOf({ org: bigOrg, shape, slots });
};

function expectOrderedProbe(nodes: readonly PlanNode[]): void {
  const ofQueue = nodes.filter((node) => node["Relation Name"] === "job_queue");
  const scans = ofQueue.filter((node) => node["Node Type"].includes("Scan"));
  expect(scans.map((node) => node["Index Name"])).toContain("job_queue_ready");
  for (const scan of scans) expect(scan["Node Type"]).toMatch(/^Index (Only )?Scan$/);
  expect(
    nodes.filter((node) => /Sort|Bitmap|Seq Scan/.test(node["Node Type"]) && node["Relation Name"]),
  ).toEqual([]);
  const picked = scans.find((node) => node["Index Name"] === "job_queue_ready");
  // It reads what it takes, not the line.
  expect(picked?.["Actual Rows"]).toBeLessThanOrEqual(100);
  const sorts = nodes.filter((node) => node["Node Type"].includes("Sort"));
  for (const sort of sorts) expect(sort["Actual Rows"]).toBeLessThanOrEqual(100);
}

describe.each(["force_generic_plan", "force_custom_plan"] as const)("with %s", (mode) => {
  test("a claim on an empty queue without statistics is one ordered probe", async () => {
    await db.admin`truncate muster.job_queue`;
    expectOrderedProbe(await planOf(claim(), mode));
  });

  test("a claim is one ordered probe when the statistics are of an empty table", async () => {
    await db.admin`truncate muster.job_queue`;
    await db.admin`analyze muster.job_queue`;
    await fill();
    expectOrderedProbe(await planOf(claim(), mode));
  });

  test("a claim is one ordered probe with full statistics, one large org among 300", async () => {
    await db.admin`truncate muster.job_queue`;
    await fill();
    await db.admin`analyze muster.job_queue`;
    expectOrderedProbe(await planOf(claim(), mode));
  });

  test.each([
    ["finish", finishLeases],
    ["lock", lockLeases],
    ["lock of children", lockJobs],
    ["lock of parents", holdLive],
    ["note of parents", markParents],
    ["count of parents", countDown],
    ["look for edges", readEdges],
    ["count of edges", countEdges],
    ["removal of edges", deleteEdges],
  ] as const)("a %s reaches its rows by their ids with stale statistics", async (_, statement) => {
    await db.admin`truncate muster.job_queue`;
    await db.admin`analyze muster.job_queue`;
    await fill();
    await db.admin`truncate muster.edges`;
    await db.admin`analyze muster.edges`;
    await db.admin`insert into muster.edges (org_id, parent_id, child_id)
      select ${bigOrg}, job_id, gen_random_uuid() from muster.job_queue where org_id = ${bigOrg}`;
    const jobs = Array.from({ length: 50 }, () => randomUUID()).sort();
    const values = {
      org: bigOrg,
      jobs,
      attempts: jobs.map(() => 1),
      leases: jobs,
      workers: jobs,
      results: jobs.map(() => "1"),
      ids: jobs,
      sequences: jobs.map(() => 0),
      counts: jobs.map(() => 1),
      parents: jobs,
      limit: 1_001,
      most: 101,
      reported: jobs,
      tally: randomUUID(),
      n: 1,
      low: jobs[0],
      high: jobs.at(-1),
    };
    const nodes = await planOf(call(statement, values), mode);
    const scans = nodes.filter(
      (node) => node["Relation Name"] === "job_queue" && node["Node Type"].includes("Scan"),
    );
    for (const scan of scans) expect(scan["Index Name"]).toMatch(/_pk$/);
    expect(nodes.filter((node) => /Seq Scan|Bitmap/.test(node["Node Type"]))).toEqual([]);
  });
});
