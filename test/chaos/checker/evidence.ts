import { basename } from "node:path";
import type { AttemptLine, ChangeLine, ClientLine, EffectLine, FinalLine } from "../history.ts";
import { filesOf, readLines } from "./json-lines.ts";
import { submissionKey } from "./load.ts";
import type { Records } from "./records.ts";
import type { Evidence } from "./verdict.ts";

/** All lines about some jobs. */
export interface JobEvidence {
  readonly jobId: string;
  readonly history: readonly Evidence[];
}

/** Reads the folder once more for what it says about some jobs, by their numbers. */
export async function gatherEvidence(
  folder: string,
  records: Records,
  jobs: ReadonlySet<number>,
): Promise<ReadonlyMap<number, JobEvidence>> {
  const gathered = new Map<number, { jobId: string; history: Evidence[] }>();
  if (jobs.size === 0) return gathered;
  const jobOfLease = new Map<string, string>();
  const note = (jobId: string, file: string, at: number | null, line: unknown): void => {
    const job = records.jobIds.find(jobId);
    if (!jobs.has(job)) return;
    const known = gathered.get(job) ?? { jobId, history: [] };
    gathered.set(job, known);
    known.history.push({ file, at, line });
  };
  await eachLine<ClientLine>(folder, "client", (line, file) => {
    if (line.type === "submitted") {
      const { jobIds, ...rest } = line;
      for (const [index, jobId] of jobIds.entries()) note(jobId, file, line.at, { ...rest, jobId, index });
    } else if (line.type === "cancel" || line.type === "cancelled") note(line.jobId, file, line.at, line);
  });
  await eachIntent(folder, records, jobs, (job, file, line) => {
    gathered.get(job)?.history.push({ file, at: line.at, line });
  });
  await eachLine<EffectLine>(folder, "effects", (line, file) => {
    if (line.type === "start") {
      if (jobs.has(records.jobIds.find(line.jobId))) jobOfLease.set(line.leaseId, line.jobId);
      note(line.jobId, file, line.at, line);
    } else {
      const jobId = jobOfLease.get(line.leaseId);
      if (jobId !== undefined) note(jobId, file, line.at, line);
    }
  });
  await eachLine<ChangeLine>(folder, "changes", ({ xid, n, at, entries }, file) => {
    for (const entry of entries) note(entry[0], file, at, { xid, n, entry });
  });
  await eachLine<AttemptLine>(folder, "attempts", (line, file) => note(line.jobId, file, line.endedAt, line));
  await eachLine<FinalLine>(folder, "final", (line, file) => {
    if (line.type === "live" || line.type === "late") note(line.jobId, file, null, line);
  });
  for (const { history } of gathered.values()) history.sort(byTime);
  return gathered;
}

async function eachLine<T>(
  folder: string,
  name: string,
  each: (line: T, file: string) => void,
): Promise<void> {
  for (const path of await filesOf(folder, name)) {
    const file = basename(path, ".jsonl");
    await readLines<T>(path, (line) => each(line, file));
  }
}

// An intent does not name its jobs: only the place that the answer gave them does.
async function eachIntent(
  folder: string,
  records: Records,
  jobs: ReadonlySet<number>,
  each: (job: number, file: string, line: { readonly at: number }) => void,
): Promise<void> {
  const byKey = Map.groupBy(jobs, (job) => records.jobs.key.get(job));
  byKey.delete(0);
  await eachLine<ClientLine>(folder, "client", (line, file) => {
    if (line.type !== "submit") return;
    const { jobs: asked, ...rest } = line;
    for (const job of byKey.get(records.keyIds.find(submissionKey(line))) ?? []) {
      const place = records.jobs.asked.get(job) - 1;
      const shown = { ...rest, jobs: asked.length, asked: records.asked[place] ?? null };
      each(job, file, shown);
    }
  });
}

function byTime(a: Evidence, b: Evidence): number {
  return (a.at ?? Number.POSITIVE_INFINITY) - (b.at ?? Number.POSITIVE_INFINITY) || 0;
}
