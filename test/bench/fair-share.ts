import { randomBytes, randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import postgres from "postgres";
import { derivePepper } from "../../server/domain/keys.ts";
import { generateKey, hashKey } from "../../server/domain/rules/keys.ts";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type Child, startChild } from "./child.ts";
import { sharedMs } from "./clock.ts";
import { quantile, round } from "./figures.ts";
import { noopSpec } from "./peers/muster.ts";
import { benchPayload } from "./seen.ts";

/*
 * `npm run bench -- fair-share`: what a burst of one org costs another on the same coordinator: the time from the
 * submit to the start of single jobs of the one, with the other at rest, and while 100,000 of its jobs are submitted
 * and worked off.
 */

/** What is measured. */
export interface FairShareResult {
  readonly quietP50Ms: number;
  readonly quietP99Ms: number;
  readonly burstP50Ms: number;
  readonly burstP99Ms: number;
  readonly p99Ratio: number;
  /** Jobs of the burst that were submitted when the last sample was taken. */
  readonly burstSubmitted: number;
}

/** Measures it. */
export async function benchFairShare(options: {
  readonly burst: number;
  readonly samples: number;
}): Promise<FairShareResult> {
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o755);
  const secret = randomBytes(24).toString("hex");
  const database = await startOwnPostgres();
  const children: Child[] = [];
  try {
    const dataDir = join(folder, "data");
    const coordinator = await startChild("./coordinator-process.ts", {
      dataDir,
      databaseUrl: database.url,
      secret,
    });
    children.push(coordinator);
    const address = String(coordinator.ready["apiAddress"]);
    const loud = { address, key: String(coordinator.ready["key"]) };
    const quiet = { address, key: await secondOrg(database.url, secret) };
    const startWorkers = async (client: typeof loud, name: string, count: number, slots: number) => {
      const admin = createMusterClient(WorkerAdminService, client);
      const keys: string[] = [];
      for (let n = 0; n < count; n++) keys.push((await admin.createWorker({ name: `${name}-${n}` })).key);
      const child = await startChild("./workers-process.ts", {
        address: coordinator.ready["workerAddress"],
        keys,
        slots,
        folder: join(folder, name),
        from: options.burst + 1,
        to: options.burst + 1,
      });
      children.push(child);
      await child.call("start");
      return child;
    };
    await startWorkers(loud, "loud", 50, 20);
    const workers = await startWorkers(quiet, "quiet", 4, 4);
    const jobs = createMusterClient(JobService, quiet);
    const sample = async () => {
      const times: number[] = [];
      for (let n = 0; n < options.samples; n++) {
        const sentMs = sharedMs();
        await jobs.submitJob({ job: { kind: "bench.stamp" } });
        times.push(Number((await workers.next())["startedMs"]) - sentMs);
        await sleep(10);
      }
      return times;
    };
    await sample();
    const alone = await sample();
    let submitted = 0;
    const batches = createMusterClient(BatchService, loud);
    const batch = { jobs: Array.from({ length: 1_000 }, () => noopSpec(benchPayload())) };
    const submitting = (async () => {
      for (; submitted < options.burst; submitted += 1_000) await batches.submitBatch(batch);
    })();
    const during = await sample();
    const burstSubmitted = submitted;
    await submitting;
    const at = (times: readonly number[], q: number) => round(quantile(times, q), 2);
    return {
      quietP50Ms: at(alone, 0.5),
      quietP99Ms: at(alone, 0.99),
      burstP50Ms: at(during, 0.5),
      burstP99Ms: at(during, 0.99),
      p99Ratio: round(at(during, 0.99) / at(alone, 0.99), 2),
      burstSubmitted,
    };
  } finally {
    for (const child of children.reverse()) await child.stop();
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

// There is no call that makes an org yet.
async function secondOrg(url: string, secret: string): Promise<string> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const orgId = randomUUID();
    const key = generateKey("api");
    await sql`insert into muster.orgs (org_id, name) values (${orgId}, 'second')`;
    await sql`insert into muster.api_keys (org_id, key_id, type, name, scopes, hash)
      values (${orgId}, ${key.id}, 'api', 'bench', ${["admin"]}, ${hashKey(derivePepper(secret), key.secret)})`;
    return key.text;
  } finally {
    await sql.end();
  }
}
