import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { payloadOfText } from "../../../tui/input/payload.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli, startCli } from "../run-cli.ts";

let peer: ApiPeer;

let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
});

afterEach(() => peer.close());

function addJobs(count: number): void {
  for (let n = 0; n < count; n++) {
    peer.addJob({ jobId: `job_${String(n).padStart(4, "0")}`, state: JobState.READY, spec: { kind: "a" } });
  }
}

describe("job list", () => {
  test("aligns on a terminal and separates by tabs elsewhere", async () => {
    peer.addJob({
      jobId: "job_1",
      state: JobState.RUNNING,
      spec: { kind: "shell.run", priority: 192 },
      attempt: 2,
      workerName: "w\u001b[2J1",
      progress: { fraction: 0.5, message: "half\tway" },
    });
    const piped = await runCli(["job", "list"], { ...input, nowMs: Date.now() });
    expect(piped.stdout).toBe(
      "JOB\tSTATE\tKIND\tPRI\tATT\tWORKER\tAGE\tABOUT\njob_1\tRUNNING\tshell.run\thigh\t2\tw␛[2J1\t0s\t50% half␉way\n",
    );
    const shown = await runCli(["job", "list", "--no-color"], {
      ...input,
      terminal: { columns: 70, rows: 24 },
    });
    const [, row = ""] = shown.stdout.split("\n");
    expect(row).toContain("▶ RUNNING");
    expect(shown.stdout).not.toContain("\u001b[3");
  });

  test("shows thirty, says that there is more, and goes on from a token", async () => {
    addJobs(32);
    const first = await runCli(["job", "list", "-o", "name"], input);
    expect(first.stdout.trim().split("\n")).toHaveLength(30);
    const text = await runCli(["job", "list"], input);
    expect(text.stderr).toContain("Showing 30 of 32 jobs: --all, --limit, --page-token 30");
    const rest = await runCli(["job", "list", "-o", "name", "--page-token", "30"], input);
    expect(rest.stdout).toBe("job_0030\njob_0031\n");
    const all = await runCli(["job", "list", "--all", "--json"], input);
    expect(JSON.parse(all.stdout)).toMatchObject({ jobs: { length: 32 }, nextPageToken: "" });
  });

  test("sends the filter and refuses states that are none", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.DEAD, spec: { kind: "a" } });
    peer.addJob({ jobId: "job_2", state: JobState.READY, spec: { kind: "a" } });
    const ran = await runCli(["job", "list", "--state", "dead,cancelled", "-o", "name"], input);
    expect(ran.stdout).toBe("job_1\n");
    const wrong = await runCli(["job", "list", "--state", "runing"], input);
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("Did you mean running?");
  });

  test("prints the proto3 JSON of the answer", async () => {
    peer.addJob({
      jobId: "job_1",
      state: JobState.READY,
      spec: { kind: "a" },
      createTime: timestampFromMs(0),
    });
    const ran = await runCli(["--json", "job", "list"], input);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      jobs: [{ jobId: "job_1", state: "JOB_STATE_READY", createTime: "1970-01-01T00:00:00Z", attempt: 0 }],
      nextPageToken: "",
    });
  });
});

describe("job get", () => {
  test("shows everything, safe for the terminal", async () => {
    peer.addJob({
      jobId: "job_1",
      state: JobState.DEAD,
      spec: { kind: "a", title: "A\u202e", payload: payloadOfText('{"x":1}'), labels: { k: "v" } },
      attempt: 3,
      failures: 3,
      error: { code: "E", message: "bad\nthing", detail: "line 1\nline\u0007 2" },
    });
    const { stdout } = await runCli(["job", "get", "job_1"], input);
    expect(stdout).toContain("title\tA⟨U+202E⟩\n");
    expect(stdout).toContain("attempt\t3 (3 failed)\n");
    expect(stdout).toContain("error\tE: bad␊thing\n");
    expect(stdout).toContain('payload\n  {"x":1}\n');
    expect(stdout).toContain("error detail\n  line 1\n  line␇ 2\n");
  });

  test("shows what the job waits for, and later waited for", async () => {
    const dependsOn = Array.from({ length: 12 }, (_, n) => ({
      parent: { case: "jobId" as const, value: `job_p${n}` },
    }));
    peer.addJob({ jobId: "job_1", state: JobState.BLOCKED, waitingOn: 2, spec: { kind: "a", dependsOn } });
    const { stdout } = await runCli(["job", "get", "job_1"], input);
    expect(stdout).toContain("waits for\t2 of 12 jobs: job_p0, job_p1, ");
    expect(stdout).toContain(", job_p9, and 2 more\n");
    peer.changeJob("job_1", { state: JobState.READY, waitingOn: 0 });
    expect((await runCli(["job", "get", "job_1"], input)).stdout).toContain("after\tjob_p0, job_p1, ");
  });

  test("finds by external id, and says 3 for nothing", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.READY, spec: { kind: "a", externalId: "mine" } });
    expect((await runCli(["job", "get", "--external-id", "mine", "-o", "name"], input)).stdout).toBe(
      "job_1\n",
    );
    const none = await runCli(["job", "get", "job_01jd9y3f4k8qkx2m0000000009", "--json"], input);
    expect(none.exitCode).toBe(3);
    expect(none.stdout).toBe("");
    expect(JSON.parse(none.stderr)).toEqual({
      error: {
        code: "not_found",
        reason: "JOB_NOT_FOUND",
        message: "there is no job job_01jd9y3f4k8qkx2m0000000009",
        metadata: { id: "job_01jd9y3f4k8qkx2m0000000009" },
        fieldViolations: [],
        suggestion: "List them with: muster job list",
        requestId: "req_404",
        retryable: false,
      },
    });
    expect((await runCli(["job", "get"], input)).exitCode).toBe(2);
  });
});

describe("job cancel and retry", () => {
  test("act on each id and tell what failed with exit code 12", async () => {
    addJobs(2);
    const ran = await runCli(["job", "cancel", "job_0000", "job_9", "job_0001", "--reason", "no"], input);
    expect(ran.exitCode).toBe(12);
    expect(ran.stdout).toBe("job_0000\tCANCELLED: no\njob_0001\tCANCELLED: no\n");
    expect(ran.stderr).toContain("why: job_9: there is no job job_9 (JOB_NOT_FOUND)");
    const again = await runCli(["job", "cancel", "job_0000"], input);
    expect(again).toMatchObject({ exitCode: 0, stderr: "job_0000 had ended before.\n" });
    const retried = await runCli(["job", "retry", "job_0000", "-o", "name"], input);
    expect(retried).toMatchObject({ exitCode: 0, stdout: "job_0000\n" });
    expect(peer.jobs.get("job_0000")?.generation).toBe(2);
  });
});

describe("job park and unpark", () => {
  test("hold jobs until a time, and let them go on", async () => {
    addJobs(2);
    const parked = await runCli(
      ["job", "park", "job_0000", "job_0001", "--for", "10m", "--reason", "quota"],
      input,
    );
    expect(parked).toMatchObject({
      exitCode: 0,
      stdout: "job_0000\tPARKED: quota\njob_0001\tPARKED: quota\n",
    });
    const wakeMs = Number(peer.jobs.get("job_0000")?.wakeTime?.seconds) * 1_000;
    expect(Math.abs(wakeMs - Date.now() - 600_000)).toBeLessThan(30_000);
    const until = await runCli(["job", "park", "job_0001", "--until", "2099-01-02T03:04:05Z"], input);
    expect(until.exitCode).toBe(0);
    expect(peer.jobs.get("job_0001")?.wakeTime?.seconds).toBe(BigInt(Date.UTC(2099, 0, 2, 3, 4, 5) / 1_000));
    const going = await runCli(["job", "unpark", "job_0000", "-o", "name"], input);
    expect(going).toMatchObject({ exitCode: 0, stdout: "job_0000\n" });
    expect(peer.jobs.get("job_0000")?.state).toBe(JobState.READY);
  });

  test("refuse what makes no sense before anything is asked", async () => {
    addJobs(1);
    for (const wrong of [
      ["--for", "10m", "--until", "in 5m"],
      ["--for", "soon"],
      ["--until", "monday"],
      ["--for", "0"],
    ]) {
      expect((await runCli(["job", "park", "job_0000", ...wrong], input)).exitCode).toBe(2);
    }
    expect(peer.calls).not.toContain("ParkJob");
  });
});

describe("job wait", () => {
  test("ends with 7 when --timeout is up first", async () => {
    addJobs(1);
    const ran = await runCli(["job", "wait", "job_0000", "--timeout", "50ms"], input);
    expect(ran.exitCode).toBe(7);
    expect(ran.stderr).toContain("job job_0000 has not ended after 50ms (WAIT_TIMED_OUT)");
  });

  test("prints the answer as JSON and still exits with 9", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.CANCELLED, reason: "deadline" });
    const ran = await runCli(["job", "wait", "job_1", "--json"], input);
    expect(ran.exitCode).toBe(9);
    expect(JSON.parse(ran.stdout)).toMatchObject({ job: { state: "JOB_STATE_CANCELLED" }, done: true });
    expect(JSON.parse(ran.stderr)).toMatchObject({ error: { reason: "JOB_CANCELLED" } });
  });

  test("lives through a cut connection and a restart", async () => {
    addJobs(1);
    const running = startCli(["job", "wait", "job_0000"], input);
    await peer.called("WaitJob", 2);
    await peer.close();
    await running.noted("trying again");
    peer.changeJob("job_0000", { state: JobState.SUCCEEDED, result: payloadOfText("5") });
    await peer.reopen();
    expect(await running.exit).toBe(0);
    expect(running.stdout()).toBe("5\n");
    expect(running.stderr()).toMatch(/^Lost the coordinator \(.*\); trying again\.\nConnected again\.\n$/);
  });

  test("says at once that the job or the coordinator is not there", async () => {
    expect((await runCli(["job", "wait", "job_9"], input)).exitCode).toBe(3);
    await peer.close();
    expect(await runCli(["job", "wait", "job_9"], input)).toMatchObject({
      exitCode: 6,
      stderr: expect.stringContaining(`cannot reach ${peer.address}`),
    });
    await peer.reopen();
  });

  test("is ended by Ctrl-C silently with 130", async () => {
    addJobs(1);
    const running = startCli(["job", "wait", "job_0000"], input);
    await peer.called("WaitJob", 2);
    running.interrupt();
    expect(await running.exit).toBe(130);
    expect(running.stdout() + running.stderr()).toBe("");
  });
});

test.each([
  [Code.InvalidArgument, 2],
  [Code.OutOfRange, 2],
  [Code.NotFound, 3],
  [Code.Unauthenticated, 4],
  [Code.PermissionDenied, 4],
  [Code.FailedPrecondition, 5],
  [Code.Aborted, 5],
  [Code.AlreadyExists, 5],
  [Code.Unavailable, 6],
  [Code.DeadlineExceeded, 7],
  [Code.ResourceExhausted, 10],
  [Code.Internal, 1],
  [Code.Unimplemented, 1],
  [Code.DataLoss, 1],
])("status code %i ends with exit code %i", async (code, exitCode) => {
  peer.failNext(new ConnectError("no", code));
  expect((await runCli(["job", "list"], input)).exitCode).toBe(exitCode);
});
