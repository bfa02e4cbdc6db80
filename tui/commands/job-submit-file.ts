import { create, toBinary } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { BatchService, SubmitBatchResponseSchema } from "@muster/client/v1/batch_service";
import { type JobSpec, JobSpecSchema } from "@muster/client/v1/job";
import type { Call } from "../call.ts";
import { CliError, usageError, type Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { readText, sourceName } from "../input/files.ts";
import { type JobsFile, readJobsFile } from "../input/jobs-file.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCount, showCounted } from "../output/time.ts";
import { reportError } from "../report.ts";
import { waitForBatch } from "./batch-wait.ts";
import type { SubmitOptions } from "./job-submit.ts";

/** One batch's share of a file: the jobs from index `start` on. */
export interface Chunk {
  readonly start: number;
  readonly jobs: readonly JobSpec[];
}

/** Submits the jobs of a file, or of stdin for `-`, as one batch if it can be. Answers with the exit code. */
export async function submitFile(call: Call, path: string, options: SubmitOptions): Promise<number> {
  const text = await readText(path, "-f", call.surroundings);
  const file = readJobsFile(text, sourceName(path), call.surroundings.now());
  const chunks = cutChunks(file.jobs);
  if (chunks.length > 1) {
    call.output.note(
      `${showCount(file.jobs.length)} jobs do not fit into one batch (10,000 jobs, 4 MiB): ` +
        `submitting ${chunks.length} batches, each of them all or none.`,
    );
  }
  checkRefs(file, chunks);
  const batchIds: string[] = [];
  for (const [index, chunk] of chunks.entries()) {
    try {
      batchIds.push(
        await submitChunk(call, file, chunk, keyOf(options.idempotencyKey, index, chunks.length), options),
      );
    } catch (error) {
      throw submitError(error, file, chunk, batchIds, call);
    }
  }
  if (options.wait !== true) return exitCodes.done;
  let exitCode: number = exitCodes.done;
  for (const batchId of batchIds) exitCode = Math.max(exitCode, await waitForBatch(call, batchId, true));
  return exitCode;
}

/** Cuts jobs into batches that the server takes: at most 10,000 jobs and not above 4 MiB. */
export function cutChunks(jobs: readonly JobSpec[]): Chunk[] {
  const chunks: { start: number; jobs: JobSpec[] }[] = [];
  let bytes = 0;
  for (const [index, job] of jobs.entries()) {
    // Tag and length of the field take up to six bytes.
    const size = toBinary(JobSpecSchema, job).byteLength + 6;
    const last = chunks.at(-1);
    if (last === undefined || last.jobs.length >= mostJobs || bytes + size > mostBytes) {
      chunks.push({ start: index, jobs: [job] });
      bytes = size;
    } else {
      last.jobs.push(job);
      bytes += size;
    }
  }
  return chunks;
}

// A ref holds within its batch: one that names a job of another chunk would be told as unknown.
function checkRefs(file: JobsFile, chunks: readonly Chunk[]): void {
  const chunkOf = new Map(chunks.flatMap((chunk) => chunk.jobs.map(({ ref }) => [ref, chunk] as const)));
  const violations = chunks.flatMap((chunk) =>
    chunk.jobs.flatMap(({ dependsOn }, index) =>
      dependsOn.flatMap(({ parent }) => {
        const other = parent.case === "ref" ? chunkOf.get(parent.value) : undefined;
        if (other === undefined || other === chunk) return [];
        const field = file.places[chunk.start + index] ?? "";
        return [{ field, message: `depends on ${JSON.stringify(parent.value)}, which is in another batch` }];
      }),
    ),
  );
  if (violations.length === 0) return;
  throw usageError(
    "jobs that depend on each other by ref do not fit into one batch; nothing was submitted",
    "Give the jobs external ids, and depend on those: { externalId: ... }.",
    violations.slice(0, 20),
  );
}

const mostJobs = 10_000;
// Leaves room for title and key beside the jobs of a message of 4 MiB.
const mostBytes = 4 * 1024 * 1024 - 4096;

async function submitChunk(
  call: Call,
  file: JobsFile,
  chunk: Chunk,
  idempotencyKey: string,
  options: SubmitOptions,
): Promise<string> {
  const request = { jobs: [...chunk.jobs], title: options.title ?? file.title ?? "", idempotencyKey };
  const response = await call.client(BatchService).submitBatch(request, call.once());
  const { batchId, jobIds, replayed } = response;
  const already = replayed ? " They were submitted before with this idempotency key." : "";
  call.output.note(`Batch ${batchId}: ${showCounted(jobIds.length, "job")}.${already}`);
  if (options.wait === true) return batchId;
  const answer = {
    schema: SubmitBatchResponseSchema,
    message: create(SubmitBatchResponseSchema, response),
    text: () => [sanitize(batchId)],
    names: () => jobIds,
  };
  if (chunk.start === 0 && chunk.jobs.length === file.jobs.length) call.output.print(answer);
  else call.output.printOne(answer);
  return batchId;
}

function keyOf(key: string | undefined, index: number, chunks: number): string {
  if (key === undefined) return "";
  return chunks === 1 ? key : `${key}/${index + 1}`;
}

// The server names a job by its index in the batch; people know the line in their file.
function submitError(
  error: unknown,
  file: JobsFile,
  chunk: Chunk,
  committed: readonly string[],
  call: Call,
): unknown {
  if (call.signal.aborted || !(error instanceof ConnectError)) return error;
  const report = reportError(error, call.context());
  const violations = report.fieldViolations.map((violation) => placed(violation, file, chunk));
  if (committed.length === 0 && violations.length === 0) return error;
  const isPart = committed.length > 0;
  const done = isPart
    ? `; ${showCounted(committed.length, "batch", "batches")} before it stay: ${committed.join(", ")}`
    : "";
  return new CliError(`${report.message}${done}`, {
    reason: report.reason,
    exitCode: isPart ? exitCodes.partFailed : report.exitCode,
    suggestion: isPart
      ? `Correct it, and submit only what stands from ${file.places[chunk.start]} on. ${report.suggestion}`
      : report.suggestion,
    violations,
    cause: error,
  });
}

function placed({ field, message }: Violation, file: JobsFile, chunk: Chunk): Violation {
  const [, index, rest] = /^jobs\[(\d+)\]\.?(.*)$/.exec(field) ?? [];
  const place = index === undefined ? undefined : file.places[chunk.start + Number(index)];
  if (place === undefined) return { field, message };
  return { field: rest ? `${place}: ${rest}` : place, message };
}
