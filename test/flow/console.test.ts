import { fileURLToPath } from "node:url";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ConsoleCluster, startConsoleCluster } from "../support/console-cluster.ts";
import { hasTerminals, openTerminal, type Terminal } from "../support/terminal.ts";

const program = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));

let cluster: ConsoleCluster;
let terminal: Terminal;

beforeEach(async ({ skip }) => {
  if (!hasTerminals()) skip("tmux, which shows the console here, is not installed");
  cluster = await startConsoleCluster();
}, 60_000);
afterEach(async () => {
  await terminal?.close();
  await cluster?.close();
});

const eventually = { timeout: 30_000, interval: 50 };
async function shows(text: string | RegExp): Promise<void> {
  const polled = expect.poll(() => terminal.screen(), eventually);
  await (typeof text === "string" ? polled.toContain(text) : polled.toMatch(text));
}

/** The end of the id of the job under the cursor. */
async function selected(): Promise<string> {
  return /^▌\s+…(\w+) /m.exec(await terminal.screen())?.[1] ?? "";
}

async function get(jobId: string): Promise<Job | undefined> {
  return (await cluster.client(JobService).getJob({ jobId })).job;
}

test("an operator finds and cancels a job under load, through a coordinator's death and back", async () => {
  const frames = await cluster.submit(
    ...[410, 411, 412, 413].map((shot) => ({
      kind: "render.frame",
      title: `shot ${shot}`,
      workMs: 600_000,
    })),
  );
  const [, , cancelled = "", kept = ""] = frames.toReversed();
  terminal = await openTerminal({
    columns: 110,
    rows: 30,
    env: { MUSTER_ADDRESS: cluster.address, MUSTER_API_KEY: cluster.key, LANG: "C.UTF-8" },
    command: `echo before; ${process.execPath} ${program} top; echo "exit code $?"`,
  });
  await shows("gpu-1");
  expect(await terminal.screen()).not.toContain("before");
  expect(await terminal.isAlternate()).toBe(true);

  // From the overview to the jobs, all of them, and to those of one kind.
  await terminal.press("2");
  await shows("index.repo acme");
  await terminal.type("/kind:render.frame state:running");
  await terminal.press("Enter");
  await shows("filter: kind:render.frame state:running");
  await shows(/4 of 4 *$/m);
  await terminal.press("g", "j", "j");
  await expect.poll(selected, eventually).toBe(cancelled.slice(-8));

  // Down to the job, and back to the same row.
  await terminal.press("Enter");
  await shows(`Jobs ▸ …${cancelled.slice(-8)}`);
  await shows("attempt 1 of 3");
  await shows(/frame \d+\/400 done/);
  await terminal.press("q");
  await shows("filter: kind:render.frame state:running");
  expect(await selected()).toBe(cancelled.slice(-8));

  // The dialog begins with keeping all as it is.
  await terminal.press("x");
  await shows("Cancel 1 job?");
  await shows("1 job: 1 running.");
  await shows(`muster job cancel ${cancelled}`);
  await shows("< Keep >");
  await terminal.press("Enter");
  await expect.poll(() => terminal.screen(), eventually).not.toContain("Cancel 1 job?");
  expect((await get(cancelled))?.state).toBe(JobState.RUNNING);
  await terminal.press("x");
  await shows("1 job: 1 running.");
  await terminal.press("Right");
  await shows("< Cancel it >");
  await terminal.press("Enter");
  await expect.poll(async () => (await get(cancelled))?.state, eventually).toBe(JobState.CANCELLED);
  await shows("(left filter)");
  await terminal.press("j");
  await expect.poll(selected, eventually).toBe(kept.slice(-8));
  await shows(/3 of 3 *$/m);

  // It dies: the console says so, keeps what it knows, and goes on.
  await cluster.killCoordinator();
  await shows(`Reconnecting to ${cluster.address}`);
  expect(await selected()).toBe(kept.slice(-8));
  await terminal.press("x");
  await shows("not connected");
  await cluster.startCoordinator();
  await shows("● live");
  await expect.poll(() => terminal.screen(), eventually).not.toContain("Reconnecting");
  expect(await selected()).toBe(kept.slice(-8));
  const [later = ""] = await cluster.submit({ kind: "render.frame", title: "shot 414", workMs: 600_000 });
  await shows(`…${later.slice(-8)} ▶ RUNNING`);
  await shows(/4 of 4 *$/m);
  expect(await selected()).toBe(kept.slice(-8));
  expect(await get(kept)).toMatchObject({ state: JobState.RUNNING, attempt: 1, losses: 0 });

  await terminal.press("q");
  await shows("exit code 0");
  expect(await terminal.isAlternate()).toBe(false);
  expect(await terminal.screen()).toMatch(
    /^before\nLeft muster \(http.*\)\. 1 action taken since .*\nexit code 0\n/,
  );
}, 180_000);
