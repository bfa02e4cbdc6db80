import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../../server/domain/rules/states.ts";

const program = fileURLToPath(new URL("./check.ts", import.meta.url));
const jobs = 200_000;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-history-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function check(...options: readonly string[]) {
  const child = spawn(process.execPath, ["--max-old-space-size=192", program, folder, ...options]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes) => {
      output += String(bytes);
    });
  }
  const [code] = await once(child, "close");
  return { code, output };
}

describe("the program", () => {
  test("checks 200,000 jobs in a small heap, and says how much memory it took", async () => {
    await writeLargeRun(folder);
    const { code, output } = await check();
    expect(output).toContain("nothing is wrong");
    expect(output).toContain(`${jobs} jobs, ${jobs} acknowledged: ${jobs} succeeded`);
    expect(code).toBe(0);
    const [, memory] = /checked in [\d.]+ s, (\d+) MiB/.exec(output) ?? [];
    expect(Number(memory)).toBeLessThan(600);
  }, 60_000);

  test("prints a verdict that programs read, and exits with 1 when something is wrong", async () => {
    const asked = { kind: "echo", exclusive: false, maxAttempts: 1, failures: 0, poison: false };
    const lines = [
      { type: "submit", at: 1, key: "k", jobs: [asked] },
      { type: "submitted", at: 2, key: "k", jobIds: ["job_x"], batchId: null, replayed: false },
    ].map((line) => JSON.stringify(line));
    await writeFile(join(folder, "client-1.jsonl"), `${lines.join("\n")}\n{"type":"subm`);
    const { code, output } = await check("--json");
    expect(code).toBe(1);
    expect(JSON.parse(output)).toMatchObject({
      isRight: false,
      counts: { lost: 1, tornLines: 1 },
      violations: [{ invariant: "lost", jobId: "job_x" }],
    });
  });

  test("names the line that it cannot read", async () => {
    await writeFile(join(folder, "faults.jsonl"), "{}\nnonsense\n");
    const { code, output } = await check();
    expect(code).toBe(1);
    expect(output).toContain("faults.jsonl, line 2: not a line of JSON");
  });
});

// Every job is asked for, granted, run and finished, 1,000 a batch.
async function writeLargeRun(to: string): Promise<void> {
  const names = ["client-1", "effects-1", "changes", "attempts", "final"] as const;
  const files = await Promise.all(names.map((name) => open(join(to, `${name}.jsonl`), "w")));
  const write = async (index: number, lines: readonly unknown[]) => {
    await files[index]?.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  };
  const id = (prefix: string, n: number) => `${prefix}_${String(n).padStart(26, "0")}`;
  const asked = { kind: "echo", exclusive: false, maxAttempts: 3, failures: 0, poison: false };
  const size = 1_000;
  for (let first = 0; first < jobs; first += size) {
    const numbers = Array.from({ length: size }, (_, n) => first + n);
    const [key, batchId, at] = [id("key", first), id("bat", first), 10 * first];
    const jobIds = numbers.map((n) => id("job", n));
    await write(0, [
      { type: "submit", at, key, jobs: numbers.map(() => asked) },
      { type: "submitted", at, key, jobIds, batchId, replayed: false },
    ]);
    await write(
      1,
      numbers.flatMap((n) => [
        {
          type: "start",
          at: at + 20,
          jobId: id("job", n),
          attempt: 1,
          leaseId: id("lse", n),
          workerId: id("wrk", n % 8),
          bootId: "boot",
          pid: 1,
        },
        { type: "end", at: at + 30, leaseId: id("lse", n), outcome: "succeeded" },
      ]),
    );
    const told = (state: JobState, attempt: number) =>
      numbers.map((n) => [id("job", n), state, attempt, attempt === 0 ? null : id("wrk", n % 8)]);
    await write(2, [
      { xid: String(first), n: 1, at, entries: told(JobState.ready, 0) },
      { xid: String(first + 1), n: 1, at: at + 10, entries: told(JobState.offered, 1) },
      { xid: String(first + 2), n: 1, at: at + 25, entries: told(JobState.running, 1) },
      { xid: String(first + 3), n: 1, at: at + 40, entries: told(JobState.succeeded, 1) },
    ]);
    await write(
      3,
      numbers.map((n) => ({
        jobId: id("job", n),
        attempt: 1,
        generation: 1,
        workerId: id("wrk", n % 8),
        leaseId: id("lse", n),
        resultId: id("res", n),
        grantedAt: at + 10,
        endedAt: at + 40,
        outcome: Outcome.succeeded,
        state: JobState.succeeded,
        failures: 0,
        losses: 0,
        releases: 0,
        final: true,
      })),
    );
    const counts = { succeeded: size, cancelled: 0, dead: 0 };
    await write(4, [{ type: "batch", batchId, total: size, pending: 0, ...counts, recount: counts }]);
  }
  await write(
    4,
    Array.from({ length: 8 }, (_, n) => ({
      type: "worker",
      workerId: id("wrk", n),
      name: `w${n}`,
      slots: 125,
    })),
  );
  await Promise.all(files.map((file) => file.close()));
}
