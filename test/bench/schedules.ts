import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createMusterClient } from "@muster/client/node";
import { QueueService, QueueType } from "@muster/client/v1/queue_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import postgres from "postgres";
import { startOwnPostgres } from "../support/own-postgres.ts";
import { type Child, startChild } from "./child.ts";
import { round } from "./figures.ts";

/** What is measured. */
export interface SchedulesResult {
  /** Schedules that were due in the same second. */
  readonly due: number;
  /** Jobs that they made. */
  readonly created: number;
  /** From that second until the last of the jobs was there. */
  readonly seconds: number;
  /** Until the first was. */
  readonly firstSeconds: number;
}

/**
 * How long many schedules take that are all due in the same second, on a coordinator and a durable Postgres of their
 * own. One is put by a call and the others are copied from its row; the clock starts with the second, and stops when
 * all jobs are counted.
 */
export async function benchSchedules(schedules: number): Promise<SchedulesResult> {
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o755);
  const database = await startOwnPostgres();
  const admin = postgres(database.url, { max: 1, onnotice: () => {} });
  const children: Child[] = [];
  try {
    const coordinator = await startChild("./coordinator-process.ts", {
      ...{
        dataDir: join(folder, "data"),
        databaseUrl: database.url,
        secret: randomBytes(24).toString("hex"),
      },
    });
    children.push(coordinator);
    const options = {
      address: String(coordinator.ready["apiAddress"]),
      key: String(coordinator.ready["key"]),
    };
    const queues = createMusterClient(QueueService, options);
    const dueMs = Math.ceil((Date.now() + 20_000) / 1_000) * 1_000;
    const due = new Date(dueMs);
    const cron = `${due.getUTCSeconds()} ${due.getUTCMinutes()} ${due.getUTCHours()} * * *`;
    const schedule = { name: "bench-0", cron, job: { kind: "bench.noop", queue, title: "a job" } };
    await createMusterClient(ScheduleService, options).putSchedule({ schedule, createOnly: true });
    await admin`
      insert into muster.schedules (org_id, schedule_id, name, cron, zone, jitter_ms, overlap, catch_up, catch_up_limit,
        kind, job, labels, next_fire_at, due_at)
      select org_id, gen_random_uuid(), 'bench-' || n, cron, zone, jitter_ms, overlap, catch_up, catch_up_limit, kind, job,
        labels, next_fire_at, due_at
      from muster.schedules, generate_series(1, ${schedules - 1}::int) n`;
    await admin`analyze muster.schedules`;
    const submitted = async (): Promise<number> => {
      const answer = await queues.getQueue({ type: QueueType.QUEUE, name: queue }).catch(() => null);
      return Number(answer?.queue?.counts?.submitted ?? 0n);
    };
    if (Date.now() > dueMs - 500) throw new Error("they were not all there before their time");
    await sleep(dueMs - Date.now());
    let firstMs = 0;
    let created = 0;
    while (created < schedules && Date.now() < dueMs + 60_000) {
      await sleep(20);
      created = await submitted();
      if (created > 0 && firstMs === 0) firstMs = Date.now() - dueMs;
    }
    const ms = Date.now() - dueMs;
    // None comes after.
    await sleep(1_000);
    created = await submitted();
    const [seconds, firstSeconds] = [round(ms / 1_000, 2), round(firstMs / 1_000, 2)];
    return { due: schedules, created, seconds, firstSeconds };
  } finally {
    for (const child of children) await child.stop();
    await admin.end();
    await database.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const queue = "bench.schedules";
