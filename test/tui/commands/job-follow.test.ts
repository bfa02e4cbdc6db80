import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { LogStream } from "@muster/client/v1/event";
import { AttemptOutcome, AttemptSchema, JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli, startCli } from "../run-cli.ts";

let peer: ApiPeer;

let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
});

afterEach(() => peer.close());

describe("job logs", () => {
  const log = (sequence: bigint, text: string, stream = LogStream.STDOUT) => ({
    attempt: 1,
    sequence,
    time: timestampFromMs(0),
    body: { case: "log" as const, value: { stream, text } },
  });

  test("prints what was said, page by page, with gaps on stderr", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.SUCCEEDED });
    peer.addEvent("job_1", log(1n, "one\n"));
    peer.addEvent("job_1", log(2n, "t\u001b[31mwo\nthree", LogStream.STDERR));
    peer.addEvent("job_1", {
      attempt: 1,
      sequence: 5n,
      body: { case: "gap", value: { fromSequence: 3n, toSequence: 4n, cause: "limit" } },
    });
    peer.addEvent("job_1", { ...log(1n, "again\n"), attempt: 2 });
    const ran = await runCli(["job", "logs", "job_1"], input);
    expect(ran.stdout).toBe("one\nt␛[31mwo\nthree\nagain\n");
    expect(ran.stderr).toBe("(records 3 to 4 are missing: limit)\n--- attempt 2 ---\n");
    const stamped = await runCli(["job", "logs", "job_1", "-t", "--attempt", "1"], input);
    expect(stamped.stdout).toMatch(/^\d\d:\d\d:\d\d out {2}one\n\d\d:\d\d:\d\d err {2}t␛/);
    const json = await runCli(["job", "logs", "job_1", "-o", "jsonl"], input);
    expect(
      json.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).sequence),
    ).toEqual(["1", "2", "5", "1"]);
  });

  test("-f goes on where it was after the connection was cut, without a line lost or twice", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.RUNNING, attempt: 1 });
    peer.addEvent("job_1", log(1n, "one\n"));
    const running = startCli(["job", "logs", "job_1", "-f"], input);
    await running.printed("one\n");
    peer.cutConnections();
    peer.addEvent("job_1", log(2n, "two\n"));
    await running.printed("two\n");
    peer.addEvent("job_1", log(3n, "three\n"));
    await running.printed("three\n");
    peer.changeJob("job_1", { state: JobState.SUCCEEDED });
    expect(await running.exit).toBe(0);
    expect(running.stdout()).toBe("one\ntwo\nthree\n");
    expect(running.stderr()).toMatch(
      /^Lost the coordinator \(.*\); trying again in .*\nConnected again\.\nJob job_1: SUCCEEDED/,
    );
  });

  test("-f ends silently with 130 at Ctrl-C", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.RUNNING, attempt: 1 });
    peer.addEvent("job_1", log(1n, "one\n"));
    const running = startCli(["job", "logs", "job_1", "-f"], input);
    await running.printed("one\n");
    running.interrupt();
    expect(await running.exit).toBe(130);
    expect(running.stderr()).toBe("");
  });
});

describe("job watch", () => {
  test("prints each change once, over several connections", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.READY });
    const running = startCli(["job", "watch", "job_1"], input);
    await running.printed("READY\n");
    peer.cutConnections();
    await running.noted("Connected again.");
    peer.changeJob("job_1", { state: JobState.SCHEDULED, attempt: 1, failures: 1 });
    await running.printed("SCHEDULED attempt 1");
    peer.changeJob("job_1", { state: JobState.SUCCEEDED, attempt: 2 });
    expect(await running.exit).toBe(0);
    expect(
      running
        .stdout()
        .trim()
        .split("\n")
        .map((line) => line.slice(9)),
    ).toEqual(["READY", "SCHEDULED attempt 1", "SUCCEEDED attempt 2"]);
  });

  test("tells an error with the states that it ended in, not with the next attempt", async () => {
    const error = { $typeName: "muster.v1.JobError", code: "E", message: "no", detail: "" } as const;
    peer.addJob({ jobId: "job_1", state: JobState.SCHEDULED, attempt: 1, failures: 1, error });
    const running = startCli(["job", "watch", "job_1"], input);
    await running.printed("SCHEDULED");
    for (const [state, attempt] of [
      [JobState.READY, 1],
      [JobState.OFFERED, 2],
      [JobState.RUNNING, 2],
    ] as const) {
      peer.changeJob("job_1", { state, attempt });
      await running.printed(JobState[state]);
    }
    peer.changeJob("job_1", { state: JobState.DEAD });
    expect(await running.exit).toBe(0);
    const lines = running.stdout().trim().split("\n");
    expect(lines.map((line) => line.slice(9))).toEqual([
      "SCHEDULED attempt 1: E: no",
      "READY attempt 1",
      "OFFERED attempt 2",
      "RUNNING attempt 2",
      "DEAD attempt 2: E: no",
    ]);
  });

  test("suggests commands for the same coordinator if the command line named it", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.DEAD });
    const watch = ["job", "watch", "job_1", "--exit-status"];
    const named = await runCli([...watch, "--address", peer.address], input);
    const flag = `--address ${peer.address}`;
    expect(named.stderr).toContain(
      `fix: See more with: muster job get job_1 ${flag}, or muster job logs job_1 ${flag}\n`,
    );
    expect((await runCli(watch, input)).stderr).not.toContain("--address");
  });

  test("streams JSON lines, and exits with 9 on --exit-status", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.DEAD });
    const ran = await runCli(["job", "watch", "job_1", "-o", "jsonl", "--exit-status"], input);
    expect(ran.exitCode).toBe(9);
    expect(JSON.parse(ran.stdout)).toMatchObject({ job: { jobId: "job_1", state: "JOB_STATE_DEAD" } });
    expect((await runCli(["job", "watch", "job_1"], input)).exitCode).toBe(0);
  });

  test("does not wait for a coordinator that was never there", async () => {
    await peer.close();
    const ran = await runCli(["job", "watch", "job_1"], input);
    await peer.reopen();
    expect(ran.exitCode).toBe(6);
    expect(ran.stderr).toContain(`cannot reach ${peer.address}`);
  });
});

test("job attempts lists the history", async () => {
  peer.addJob({ jobId: "job_1", state: JobState.SUCCEEDED });
  const attempt = { jobId: "job_1", workerName: "w1", startTime: timestampFromMs(0), generation: 1 };
  peer.attempts.set("job_1", [
    create(AttemptSchema, {
      ...attempt,
      attempt: 1,
      outcome: AttemptOutcome.LOST,
      endTime: timestampFromMs(90_000),
    }),
    create(AttemptSchema, {
      ...attempt,
      attempt: 2,
      outcome: AttemptOutcome.SUCCEEDED,
      final: true,
      endTime: timestampFromMs(500),
    }),
  ]);
  const { stdout } = await runCli(["job", "attempts", "job_1"], input);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => line.split("\t"));
  expect(rows.map((row) => [row[0], row[2], row[5]])).toEqual([
    ["ATT", "OUTCOME", "TOOK"],
    ["1", "LOST", "1m30s"],
    ["2", "SUCCEEDED (final)", "500ms"],
  ]);
});
