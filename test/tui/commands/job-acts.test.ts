import { JobState } from "@muster/client/v1/job";
import { JobAction } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { paceOf } from "../../../tui/commands/job-acts.ts";
import { payloadOfText } from "../../../tui/input/payload.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
});
afterEach(() => peer.close());

const idOf = (n: number) => `job_${String(n).padStart(26, "0")}`;
function addJobs(count: number, state = JobState.READY, kind = "a"): string[] {
  return Array.from({ length: count }, () => {
    const jobId = idOf(peer.jobs.size);
    peer.addJob({ jobId, state, spec: { kind }, error: { code: "E", message: "m\u001b[2J" } });
    return jobId;
  });
}
const run = (...argv: string[]) => runCli(argv, input);
const states = () => [...peer.jobs.values()].map((job) => job.state);

describe("an act by a filter", () => {
  test("without a terminal and without --confirm is exit 2 with the exact command, and changes nothing", async () => {
    addJobs(3);
    const ran = await run(
      "job",
      "cancel",
      "--filter",
      "kind:a state:ready",
      "--reason",
      "it's wrong",
      "--force",
    );
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" });
    expect(ran.stderr).toContain('Cancel 3 jobs that match "kind:a state:ready" (3 READY)');
    expect(ran.stderr).toContain(
      "muster job cancel --filter 'kind:a state:ready' --force --reason 'it'\\''s wrong' --confirm 3",
    );
    expect(states()).not.toContain(JobState.CANCELLED);
  });

  test("goes page by page with the confirmed count, and sums up", async () => {
    addJobs(5);
    const ran = await run("job", "cancel", "--filter", "kind:a", "--confirm", "5");
    expect(ran).toMatchObject({ exitCode: 0, stdout: "cancelled\t5\n" });
    expect(new Set(states())).toEqual(new Set([JobState.CANCELLED]));
    expect(peer.asked.slice(1)).toMatchObject([
      { confirmed: 5n, pageToken: "" },
      { confirmed: 5n, pageToken: "2" },
      { confirmed: 5n, pageToken: "4" },
    ]);
  });

  test("asks at a terminal for the count, and takes no other", async () => {
    addJobs(2);
    const terminal = { columns: 80, rows: 24 };
    const no = await runCli(["job", "park", "--filter", "kind:a"], { ...input, terminal, typed: "3\n" });
    expect(no.exitCode).toBe(130);
    expect(states()).toEqual([JobState.READY, JobState.READY]);
    const yes = await runCli(["job", "park", "--filter", "kind:a"], { ...input, terminal, typed: "2\n" });
    expect(yes.exitCode).toBe(0);
    expect(states()).toEqual([JobState.PARKED, JobState.PARKED]);
  });

  test("dry shows what matches, by state, and changes nothing", async () => {
    addJobs(1, JobState.READY);
    addJobs(1, JobState.DEAD);
    const ran = await run("job", "cancel", "--filter", "kind:a", "--dry-run");
    expect(ran).toMatchObject({ exitCode: 0, stdout: "STATE\tJOBS\nREADY\t1\nDEAD\t1\n" });
    expect(ran.stderr).toBe("2 jobs: cancel 1, skip 1. Nothing was done.\n");
    const json = await run("job", "cancel", "--filter", "kind:a", "--dry-run", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ done: 1, skipped: 1 });
    expect(states()).toEqual([JobState.READY, JobState.DEAD]);
  });

  test("that does not apply to some is exit 12 with why, and the others are done", async () => {
    addJobs(1, JobState.READY);
    const [dead = ""] = addJobs(1, JobState.DEAD);
    const ran = await run("job", "cancel", "--filter", "kind:a", "--confirm", "2");
    expect(ran).toMatchObject({ exitCode: 12, stdout: "cancelled\t1\n" });
    expect(ran.stderr).toContain("1 of 2 jobs skipped");
    expect(ran.stderr).toContain(`${dead}: The job has ended (JOB_ALREADY_TERMINAL)`);
  });

  test("that matches none does nothing and needs no word", async () => {
    const ran = await run("job", "retry", "--filter", "kind:none");
    expect(ran).toMatchObject({ exitCode: 0, stderr: "No jobs match: nothing was done.\n" });
  });

  test("names no ids, and says so before anything is done", async () => {
    addJobs(1);
    const ran = await run("job", "cancel", "--filter", "kind:a", "--confirm", "1", "-o", "name");
    expect(ran.exitCode).toBe(2);
    expect(peer.calls).not.toContain("ActOnJobs");
    expect((await run("job", "cancel", "--filter", "kind:a", idOf(0))).exitCode).toBe(2);
    expect((await run("job", "cancel")).exitCode).toBe(2);
  });
});

describe("an act on many ids", () => {
  test("is asked for from 51 on, and is one call", async () => {
    const ids = addJobs(51);
    const ran = await run("job", "unpark", ...ids);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("--confirm 51");
    const done = await run("job", "unpark", ...ids, "--confirm", "51");
    expect(done).toMatchObject({ exitCode: 0, stdout: "unparked\t51\n" });
    expect(peer.asked.at(-1)).toMatchObject({ action: JobAction.UNPARK, dryRun: false });
  });
});

describe("job edit, delete and requeue", () => {
  test("edit sends what is given, and refuses nothing to do", async () => {
    const [jobId = ""] = addJobs(1);
    const ran = await run(
      "job",
      "edit",
      jobId,
      "--priority",
      "high",
      "--label",
      "team=web",
      "--label",
      "old=",
    );
    expect(ran).toMatchObject({ exitCode: 0 });
    expect(peer.asked.at(-1)).toMatchObject({ priority: 192, labels: { team: "web", old: "" } });
    expect(peer.asked.at(-1)).not.toHaveProperty("title");
    expect((await run("job", "edit", jobId)).exitCode).toBe(2);
    expect((await run("job", "edit", jobId, "--priority", "256")).exitCode).toBe(2);
  });

  test("delete takes --yes for one, and the count for a filter", async () => {
    const [jobId = ""] = addJobs(2, JobState.DEAD);
    const asked = await run("job", "delete", jobId);
    expect(asked.exitCode).toBe(2);
    expect(asked.stderr).toContain(`muster job delete ${jobId} --yes`);
    expect(await run("job", "delete", jobId, "--yes")).toMatchObject({ stdout: `${jobId}\tdeleted\n` });
    expect(await run("job", "delete", "--filter", "kind:a", "--yes")).toMatchObject({ exitCode: 2 });
    expect((await run("job", "delete", "--filter", "kind:a", "--confirm", "1")).stdout).toBe("deleted\t1\n");
    expect(peer.jobs.size).toBe(0);
  });

  test("requeue revokes the lease of what runs, and retries what does not", async () => {
    const [runs = ""] = addJobs(1, JobState.RUNNING);
    const [dead = ""] = addJobs(1, JobState.DEAD);
    const ran = await run("job", "requeue", runs, dead, "--reason", "hangs", "--yes");
    expect(ran.exitCode).toBe(0);
    expect(peer.calls).toContain("RevokeLease");
    expect(peer.calls).toContain("RetryJob");
    expect(states()).toEqual([JobState.READY, JobState.READY]);
  });
});

describe("dlq", () => {
  test("groups shows equal errors, safe for the terminal", async () => {
    addJobs(3, JobState.DEAD);
    const ran = await run("dlq", "groups");
    expect(ran.stdout.split("\n")[1]).toBe("3\tf00d\ta\t0s\t0s\t3\tE: m␛[2J");
    expect((await run("dlq", "groups", "-o", "name")).stdout).toBe("f00d\n");
  });

  test("retry and discard take a group, a filter of letters, or ids", async () => {
    addJobs(2, JobState.DEAD);
    addJobs(1, JobState.READY);
    const asked = await run("dlq", "retry", "--group", "f00d", "--reason", "rotated");
    expect(asked.stderr).toContain("muster dlq retry --group f00d --reason rotated --confirm 2");
    expect(peer.asked.at(-1)).toMatchObject({ jobs: { value: "fingerprint:f00d" } });
    expect((await run("dlq", "retry", "--group", "f00d", "--confirm", "2")).stdout).toBe("retried\t2\n");
    addJobs(1, JobState.DEAD, "b");
    expect((await run("dlq", "discard", "--filter", "kind:b", "--confirm", "1")).stdout).toBe(
      "discarded\t1\n",
    );
    expect(peer.asked.at(-1)).toMatchObject({ jobs: { value: "kind:b fingerprint:*" } });
    expect((await run("dlq", "discard", "--group", "f00d", "--filter", "kind:b")).exitCode).toBe(2);
    expect((await run("dlq", "retry", "--group", "no such")).exitCode).toBe(2);
  });

  test("a group goes by the beginning of its fingerprint, where that is one group's only", async () => {
    addJobs(2, JobState.DEAD);
    const ran = await run("dlq", "retry", "--group", "f0", "--dry-run");
    expect(ran).toMatchObject({ exitCode: 0, stdout: "STATE\tJOBS\nDEAD\t2\n" });
    expect(ran.stderr).toContain("f0 is f00d");
    addJobs(1, JobState.DEAD, "other.error");
    const both = await run("dlq", "retry", "--group", "f0", "--confirm", "2");
    expect(both.exitCode).toBe(2);
    expect(both.stderr).toContain("(AMBIGUOUS_ID)");
    expect(both.stderr).toContain("f00d  a, 2");
    expect(both.stderr).toContain("f00e  other.error, 1");
    const whole = await run("dlq", "retry", "--group", "f00e", "--confirm", "1");
    expect(whole).toMatchObject({ exitCode: 0, stdout: "retried\t1\n" });
  });

  test.each(["retry", "discard"])("%s of a group that is not there is not found", async (verb) => {
    addJobs(1, JobState.DEAD);
    for (const more of [["--dry-run"], ["--confirm", "1"]]) {
      const ran = await run("dlq", verb, "--group", "f00a", ...more);
      expect(ran).toMatchObject({ exitCode: 3, stdout: "" });
      expect(ran.stderr).toContain('there is no group of dead letters "f00a" (DEAD_LETTER_GROUP_NOT_FOUND)');
      expect(ran.stderr).toContain("Did you mean f00d?");
    }
    expect(peer.jobs.size).toBe(1);
  });

  test("export writes a JSON line a letter, with its payload, and nothing raw", async () => {
    addJobs(2, JobState.DEAD);
    peer.changeJob(idOf(0), {
      spec: { ...peer.jobs.get(idOf(0))?.spec, payload: payloadOfText('{"x":1}') } as never,
    });
    const ran = await run("dlq", "export");
    const lines = ran.stdout.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).job.jobId)).toEqual([idOf(0), idOf(1)]);
    expect(JSON.parse(lines[0] ?? "").job.spec.payload).toBeDefined();
    expect(ran.stdout).not.toContain("\u001b");
    expect(ran.stderr).toBe("2 dead letters.\n");
  });

  test.each([
    [
      { jobs: 10, periodMs: 60_000 },
      { size: 1, pauseMs: 6_000 },
    ],
    [
      { jobs: 5, periodMs: 1_000 },
      { size: 5, pauseMs: 1_000 },
    ],
    [
      { jobs: 600, periodMs: 60_000 },
      { size: 10, pauseMs: 1_000 },
    ],
    [undefined, { size: 1_000, pauseMs: 0 }],
  ])("paces %o", (rate, pace) => expect(paceOf(rate)).toEqual(pace));
});

test("an act at a rate reaches no more jobs than were confirmed", async () => {
  addJobs(3, JobState.DEAD);
  const push = peer.asked.push.bind(peer.asked);
  // Another one dies as soon as they were counted.
  peer.asked.push = (...asked) => {
    queueMicrotask(() => addJobs(1, JobState.DEAD));
    return push(...asked);
  };
  const ran = await run("dlq", "retry", "--filter", "kind:a", "--rate", "100/s", "--confirm", "3");
  expect(ran.stderr).toContain("4 jobs match, and 3 were confirmed (COUNT_CHANGED)");
  expect(ran.exitCode).toBe(5);
  expect(new Set(states())).toEqual(new Set([JobState.DEAD]));
});

describe("lease", () => {
  test("list, get and revoke", async () => {
    peer.addJob({
      jobId: idOf(1),
      state: JobState.RUNNING,
      spec: { kind: "a" },
      attempt: 2,
      workerName: "w\u001b1",
    });
    const leaseId = idOf(1).replace("job_", "lse_");
    const list = await run("lease", "list", "--worker", "gpu-1", "--at-risk");
    expect(list.stdout.split("\n")[1]).toBe(`${leaseId}\t${idOf(1)}\tRUNNING\ta\t2\t0s\t-\tw␛1 (late)`);
    expect(peer.asked.at(-1)).toMatchObject({ worker: "gpu-1", atRisk: true });
    expect((await run("lease", "get", idOf(1), "-o", "name")).stdout).toBe(`${leaseId}\n`);
    expect((await run("lease", "get", "lse_x")).exitCode).toBe(3);
    const asked = await run("lease", "revoke", leaseId);
    expect(asked.exitCode).toBe(2);
    expect(asked.stderr).toContain(`muster lease revoke ${leaseId} --yes`);
    const done = await run("lease", "revoke", leaseId, "--yes", "--reason", "hangs");
    expect(done).toMatchObject({ exitCode: 0, stdout: `${leaseId}\tREADY attempt 2 on w␛1: hangs\n` });
  });
});

test("batch cancel acts on the jobs of the batch that have not ended", async () => {
  addJobs(2);
  const batchId = `bat_${"0".repeat(26)}`;
  const ran = await run("batch", "cancel", batchId, "--reason", "no");
  expect(ran.stderr).toContain(`muster batch cancel ${batchId} --reason no --confirm 2`);
  expect(peer.asked.at(-1)).toMatchObject({
    jobs: { value: `batch:${batchId} -state:succeeded,cancelled,dead` },
    dryRun: true,
  });
  expect((await run("batch", "cancel", batchId, "--confirm", "2")).stdout).toBe("cancelled\t2\n");
});
