import { setTimeout as sleep } from "node:timers/promises";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService, type ListJobEventsResponse } from "@muster/client/v1/job_service";
import { sharedMs } from "./clock.ts";
import { round } from "./figures.ts";
import { type Coordinators, leftOf, startCoordinators, startWorkers } from "./muster.ts";
import type { Environment } from "./system.ts";

/** How fast what handlers say is taken in. */
export interface LogsResult {
  readonly jobs: number;
  readonly linesPerJob: number;
  /** Share of the text that was kept, by a look at some of the jobs; what is missing is marked as gaps. */
  readonly keptShare: number;
  /** Kept lines a second, from the start of the workers until all is committed. */
  readonly linesPerSecond: number;
  readonly megabytesPerSecond: number;
  /** Bytes in the database for each line. */
  readonly storedBytesPerLine: number;
  readonly walBytesPerLine: number;
  readonly progressPerSecond: number;
}

// After a number and a random fraction: what repeats itself packs better than anything that is ever said.
const lineText =
  "step 4 of 9: wrote 1,284 records to part-00017 in 88 ms, 3 retries, queue depth 512, all is well now";
const lineBytes = lineText.length + 20;
const lookedAt = 20;

/**
 * Jobs that write lines of about 120 bytes and report progress every ten of them. The clock starts with the workers and
 * stops when the database has the end of each attempt and of its log.
 */
export async function measureLogs(
  environment: Environment,
  { jobs, linesPerJob }: { readonly jobs: number; readonly linesPerJob: number },
): Promise<LogsResult> {
  const coordinators = await startCoordinators(environment, 1);
  const children = await startWorkers(environment, coordinators);
  try {
    const client = { address: coordinators.apiAddress, key: coordinators.key };
    const batches = createMusterClient(BatchService, client);
    const data = Buffer.from(JSON.stringify({ lines: linesPerJob, text: lineText }));
    const payload = { content: { case: "data" as const, value: data } };
    const specs = Array.from({ length: jobs }, () => ({ kind: "bench.log", payload }));
    const jobIds: string[] = [];
    for (let next = 0; next < jobs; next += 1_000) {
      jobIds.push(...(await batches.submitBatch({ jobs: specs.slice(next, next + 1_000) })).jobIds);
    }
    const before = await walBytes(environment);
    const startedMs = sharedMs();
    await Promise.all(children.map((child) => child.call("start")));
    while ((await leftOf(coordinators.sql)) > 0 || (await openLogs(coordinators)) > 0) await sleep(20);
    const seconds = (sharedMs() - startedMs) / 1_000;
    const after = await walBytes(environment);
    const keptShare = await shareKept(coordinators, jobIds.slice(0, lookedAt), linesPerJob);
    const lines = Math.max(1, keptShare * jobs * linesPerJob);
    const bytes = await storedBytes(coordinators);
    return {
      jobs,
      linesPerJob,
      keptShare: round(keptShare, 4),
      linesPerSecond: Math.round(lines / seconds),
      megabytesPerSecond: round((lines * lineBytes) / seconds / 1e6, 2),
      storedBytesPerLine: round(bytes / lines, 1),
      walBytesPerLine: round((after - before) / lines, 1),
      progressPerSecond: Math.round((jobs * linesPerJob) / 10 / seconds),
    };
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    await coordinators.stop();
  }
}

// Attempts whose log is not there up to the number that their result declared.
async function openLogs({ sql }: Coordinators): Promise<number> {
  const [row] = await sql<{ open: number }[]>`
    select count(*)::int as open from muster.attempts a where a.last_sequence > 0 and a.last_sequence > coalesce(
      (select max(c.last_sequence) from muster.log_chunks c where c.org_id = a.org_id and c.job_id = a.job_id), 0)`;
  return row?.open ?? 0;
}

// The text of the log as a client reads it.
async function shareKept(
  { apiAddress: address, key }: Coordinators,
  jobIds: readonly string[],
  linesPerJob: number,
): Promise<number> {
  const jobs = createMusterClient(JobService, { address, key });
  let lines = 0;
  for (const jobId of jobIds) {
    let after: ListJobEventsResponse["next"];
    do {
      const page = await jobs.listJobEvents({ jobId, pageSize: 5_000, ...(after && { after }) });
      for (const { body } of page.events) {
        if (body.case === "log") lines += body.value.text.split(lineText).length - 1;
      }
      after = page.events.length === 0 ? undefined : page.next;
    } while (after !== undefined);
  }
  return lines / (jobIds.length * linesPerJob);
}

async function storedBytes({ sql }: Coordinators): Promise<number> {
  const [row] = await sql<{ bytes: string }[]>`
    select coalesce(sum(length(body)), 0)::text as bytes from muster.log_chunks`;
  return Number(row?.bytes ?? 0);
}

async function walBytes({ postgres: { admin } }: Environment): Promise<number> {
  const [row] = await admin<{ bytes: string }[]>`
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as bytes`;
  return Number(row?.bytes ?? 0);
}
