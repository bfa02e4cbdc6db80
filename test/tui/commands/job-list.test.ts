import { JobService } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeId } from "../../../server/domain/ids.ts";
import { openApi, type TestApi, type TestClient } from "../../rpc/api.ts";
import { createTestDatabase, type TestDatabase } from "../../support/database.ts";
import { insertWorkerRow } from "../../support/rows.ts";
import { type RunInput, runCli, startCli } from "../run-cli.ts";

let db: TestDatabase;
let api: TestApi;
let client: TestClient;
let input: RunInput;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
  client = await api.client();
  input = { env: { MUSTER_ADDRESS: api.address, MUSTER_API_KEY: client.orgId } };
});
afterAll(async () => {
  await api.stop();
  await db.close();
});

async function submit(kind: string): Promise<string> {
  return (await client.of(JobService).submitJob({ job: { kind, title: "t" } })).jobId;
}

test("a list is narrowed by a filter, and says at which column one is wrong", async () => {
  const jobId = await submit("agent.code");
  await submit("shell.run");
  const ran = await runCli(["job", "list", "--filter", "kind:agent.* state:queued", "-o", "name"], input);
  expect([ran.exitCode, ran.stdout]).toEqual([0, `${jobId}\n`]);
  const wrong = await runCli(["job", "list", "--filter", "kind:a stat:queued"], input);
  expect(wrong.exitCode).toBe(2);
  expect(wrong.stderr).toContain("column 8");
  expect(wrong.stderr).toContain("Did you mean state?");
  await insertWorkerRow(db, client.orgId, { name: "gpu-1" });
  await insertWorkerRow(db, client.orgId, { name: "mac-1" });
  const workers = await runCli(["worker", "list", "--filter", "name:gpu-* state:offline"], input);
  expect(workers.stdout).toContain("gpu-1");
  expect(workers.stdout).not.toContain("mac-1");
});

test("a watched list goes on, one line of JSON a change, until it is interrupted", async () => {
  const first = await submit("watch.a");
  const running = startCli(
    ["job", "list", "--watch", "--kind", "watch.a", "--state", "ready", "-o", "jsonl"],
    input,
  );
  await running.printed(first);
  const second = await submit("watch.a");
  await running.printed(second);
  await client.of(JobService).cancelJob({ jobId: first });
  await running.printed(`"leftJobIds":["${first}"]`);
  running.interrupt();
  expect(await running.exit).toBe(130);
  const changes = running
    .stdout()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(changes[0]).toMatchObject({ rows: { jobs: [{ jobId: first }] } });
  expect(changes[1]).toMatchObject({ delta: { jobs: [{ jobId: second }] } });
});

test("a watched list is a table and then lines for people; what cannot be watched is refused", async () => {
  const jobId = await submit("watch.b");
  const running = startCli(["job", "list", "--watch", "--filter", "kind:watch.b"], input);
  await running.printed(jobId);
  // A reason that passed no check.
  await db.admin`update muster.job_queue set reason = ${"bad \u001b[2J"} where org_id = ${client.orgId}`;
  await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    values (${client.orgId}, 1, ${[decodeId("job", jobId)]}, ${[3]}, ${[0]}, ${[db.newId()]})`;
  await running.printed("bad ␛[2J");
  await client.of(JobService).cancelJob({ jobId });
  await running.printed("CANCELLED");
  running.interrupt();
  await running.exit;
  expect(running.stdout()).toMatch(/^JOB\tSTATE/);
  expect(running.stdout()).not.toContain("\u001b[2J");
  for (const more of [["--all"], ["--runnable-by", "gpu-1"], ["--limit", "251"]]) {
    expect((await runCli(["job", "list", "--watch", ...more], input)).exitCode).toBe(2);
  }
});

test("the terms are told by help", async () => {
  const { stdout, exitCode } = await runCli(["help", "filter"], input);
  expect(exitCode).toBe(0);
  expect(stdout).toContain("state:running,retry");
  expect(stdout).toContain("a project that it has a working copy of");
});
