import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { DependencyPolicy, JobSpecSchema, JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cutChunks } from "../../../tui/commands/job-submit-file.ts";
import { payloadOfText, textOfPayload } from "../../../tui/input/payload.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli, startCli } from "../run-cli.ts";

let peer: ApiPeer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  directory = makeDirectory();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key }, cwd: directory.path };
});

afterEach(async () => {
  await peer.close();
  directory.remove();
});

describe("job submit --after", () => {
  test("names jobs by id or by the submitter's own, and what happens when one dies", async () => {
    const argv = "job submit deploy --after job_1,mine --after job_2 --after-failure release".split(" ");
    expect(await runCli(argv, input)).toMatchObject({ stderr: "", exitCode: 0 });
    const { job } = peer.submitted[0] ?? {};
    expect(job?.dependsOn.map(({ parent }) => [parent.case, parent.value])).toEqual([
      ["jobId", "job_1"],
      ["externalId", "mine"],
      ["jobId", "job_2"],
    ]);
    expect(job?.dependencyPolicy).toBe(DependencyPolicy.RELEASE);
    const wrong = await runCli(["job", "submit", "x", "--after-failure", "explode"], input);
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("neither cancel nor release");
  });

  test("in a file that is cut into batches refuses refs between them before anything is sent", async () => {
    const jobs = Array.from({ length: 10_001 }, (_, n) =>
      JSON.stringify({ kind: "x", ref: `r${n}`, dependsOn: n === 10_000 ? ["r0"] : [] }),
    );
    writeFileSync(join(directory.path, "jobs.jsonl"), jobs.join("\n"));
    const ran = await runCli(["job", "submit", "-f", "jobs.jsonl"], input);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain('jobs.jsonl:10001: depends on "r0", which is in another batch');
    expect(peer.submittedBatches).toEqual([]);
  });
});

describe("job submit KIND", () => {
  test("submits what the flags say and prints the id alone", async () => {
    const ran = await runCli(
      [
        ..."job submit render.frame --priority high --points 8 --skill gpu,blender --skill cuda --label team=web".split(
          " ",
        ),
        ..."--label a=b=c --project acme/web --external-id shot-1 --idempotency-key k1 --title T --queue q --pool acme".split(
          " ",
        ),
        ..."--soft-timeout 45m --hard-timeout 1h --lease-ttl 2h --reclaim-after 1m --max-attempts 5 --exclusive".split(
          " ",
        ),
        ...["--deadline", "2030-01-01T00:00:00Z", "--run-at", "in 10m", "--data", '{"frame": 7}'],
      ],
      input,
    );
    expect(ran.stderr).toBe("");
    expect(ran.exitCode).toBe(0);
    const [jobId] = peer.jobs.keys();
    expect(ran.stdout).toBe(`${jobId}\n`);
    const { job, idempotencyKey } = peer.submitted[0] ?? {};
    expect(idempotencyKey).toBe("k1");
    expect(job).toMatchObject({
      kind: "render.frame",
      priority: 192,
      points: 8,
      requiredSkills: ["gpu", "blender", "cuda"],
      labels: { team: "web", a: "b=c" },
      project: "acme/web",
      externalId: "shot-1",
      title: "T",
      queue: "q",
      pool: "acme",
      softTimeout: { seconds: 2_700n },
      hardTimeout: { seconds: 3_600n },
      leaseTtl: { seconds: 7_200n },
      reclaimAfter: { seconds: 60n },
      retry: { maxAttempts: 5 },
      exclusive: true,
      deadline: { seconds: 1_893_456_000n },
    });
    expect(Number(job?.runTime?.seconds) * 1000 - Date.now()).toBeGreaterThan(590_000);
    // Byte for byte what was typed.
    expect(textOfPayload(job?.payload)).toBe('{"frame": 7}');
  });

  test("leaves out what was not asked, so that the server's defaults hold", async () => {
    await runCli(["job", "submit", "noop"], { ...input, terminal: { columns: 80, rows: 24 } });
    const { job } = peer.submitted[0] ?? {};
    expect(job?.priority).toBeUndefined();
    expect(job?.points).toBeUndefined();
    expect(job?.payload).toBeUndefined();
    expect(job?.retry).toBeUndefined();
  });

  test("takes a program after two dashes, with its own options", async () => {
    await runCli(["job", "submit", "shell.run", "--json", "--", "ls", "-l", "--json"], input);
    expect(textOfPayload(peer.submitted[0]?.job?.payload)).toBe('{"argv":["ls","-l","--json"]}');
    await runCli(["job", "submit", "shell.run", "-d", '{"cwd":"/tmp"}', "--", "pwd"], input);
    expect(textOfPayload(peer.submitted[1]?.job?.payload)).toBe('{"cwd":"/tmp","argv":["pwd"]}');
  });

  test("reads a payload from a file and from stdin", async () => {
    writeFileSync(join(directory.path, "p.json"), '{"a":1}\n');
    await runCli(["job", "submit", "x", "--data", "@p.json"], input);
    await runCli(["job", "submit", "x", "--data", "-"], { ...input, stdin: "[1,2]" });
    expect(peer.submitted.map(({ job }) => textOfPayload(job?.payload))).toEqual(['{"a":1}\n', "[1,2]"]);
  });

  test.each([
    [["x", "--data", "{nope"], "--data is not JSON"],
    [["x", "--data", "@none.json"], "cannot read none.json: no such file or directory"],
    [["x", "--priority", "hihg"], "Did you mean high?"],
    [["x", "--soft-timeout", "5 min"], "is not a duration"],
    [["x", "--run-at", "tomorrow"], "is not a time"],
    [["x", "--label", "novalue"], "is not a label"],
    [["x", "--points", "0"], "is not a whole number from 1 to 10000"],
    [["x", "--pririty", "1"], "Did you mean --priority?"],
    [["x", "--", "ls"], "words after -- are the program of a shell.run job"],
    [["shell.run", "ls"], "muster job submit shell.run -- ls"],
    [["--", "echo", "hi"], "muster job submit shell.run -- echo hi"],
    [["shell.run", "-d", '{"argv":["a"]}', "--", "b"], "--data must be an object without argv"],
    [["x", "-f", "jobs.yaml"], "-f reads the jobs from a file"],
    [["-f", "jobs.yaml", "--priority", "low"], "--priority cannot be used with -f"],
  ])("refuses %j with exit code 2 and submits nothing", async (words, message) => {
    const ran = await runCli(["job", "submit", ...words], input);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(message);
    expect(ran.stdout).toBe("");
    expect(peer.calls).toEqual([]);
  });

  test("with --wait prints the result of a job that succeeded", async () => {
    const running = startCli(["job", "submit", "x", "--wait"], input);
    await peer.called("WaitJob", 1);
    const [jobId = ""] = peer.jobs.keys();
    peer.changeJob(jobId, { state: JobState.SUCCEEDED, result: payloadOfText('{"sum":3}') });
    expect(await running.exit).toBe(0);
    expect(running.stdout()).toBe('{"sum":3}\n');
    expect(running.stderr()).toBe(`Submitted ${jobId}.\n`);
  });

  test("with --wait exits with 9 and says why when the job failed", async () => {
    const running = startCli(["job", "submit", "x", "--wait", "-q"], input);
    await peer.called("WaitJob", 1);
    const [jobId = ""] = peer.jobs.keys();
    const error = {
      $typeName: "muster.v1.JobError",
      code: "EXIT_NONZERO",
      message: "exit \u001b[31m1",
      detail: "",
    } as const;
    peer.changeJob(jobId, { state: JobState.DEAD, error });
    expect(await running.exit).toBe(9);
    expect(running.stdout()).toBe("");
    expect(running.stderr()).toBe(
      `error: job ${jobId} ended DEAD (JOB_DEAD)\n  why: EXIT_NONZERO: exit ␛[31m1\n  fix: See more with: muster job get ${jobId}, or muster job logs ${jobId}\n`,
    );
  });

  test("with --watch shows states and log and exits with 9 when it was cancelled", async () => {
    const running = startCli(["job", "submit", "x", "--watch"], input);
    await peer.called("WatchJob", 1);
    const [jobId = ""] = peer.jobs.keys();
    await running.printed("READY");
    peer.changeJob(jobId, { state: JobState.RUNNING, attempt: 1, workerName: "w1" });
    await running.printed("RUNNING attempt 1 on w1");
    peer.addEvent(jobId, { attempt: 1, sequence: 1n, body: { case: "log", value: { text: "hello\n" } } });
    await running.printed("hello");
    peer.changeJob(jobId, { state: JobState.CANCELLED, reason: "enough" });
    expect(await running.exit).toBe(9);
    expect(running.stdout()).toContain("CANCELLED attempt 1 on w1: enough");
  });

  test("tells the server's refusal field by field", async () => {
    peer.failNext(
      makeError(Code.InvalidArgument, "the job is not valid", {
        reason: "JOB_INVALID",
        violations: [{ field: "job.kind", message: "has a blank" }],
        suggestion: "Use a to z.",
        requestId: "req_7",
      }),
    );
    const ran = await runCli(["job", "submit", "a b"], input);
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" });
    expect(ran.stderr).toBe(
      "error: the job is not valid (JOB_INVALID)\n  why: job.kind: has a blank\n  fix: Use a to z.\n  request: req_7\n",
    );
  });
});

describe("job submit -f", () => {
  test("submits a YAML file as one batch", async () => {
    writeFileSync(join(directory.path, "jobs.yaml"), "title: t\njobs:\n  - kind: a\n  - kind: b\n");
    const ran = await runCli(["job", "submit", "-f", "jobs.yaml", "--idempotency-key", "k"], input);
    expect(ran.exitCode).toBe(0);
    const [batchId] = peer.batches.keys();
    expect(ran.stdout).toBe(`${batchId}\n`);
    expect(ran.stderr).toBe(`Batch ${batchId}: 2 jobs.\n`);
    expect(peer.submittedBatches).toMatchObject([
      { title: "t", idempotencyKey: "k", jobs: [{ kind: "a" }, { kind: "b" }] },
    ]);
  });

  test("takes JSON lines from stdin, named or not", async () => {
    const stdin = '{"kind":"a"}\n{"kind":"b"}\n';
    const named = await runCli(["job", "submit", "-f", "-", "-o", "name"], { ...input, stdin });
    expect(named.stdout.trim().split("\n")).toEqual([...peer.jobs.keys()]);
    const unnamed = await runCli(["job", "submit", "--json"], { ...input, stdin });
    expect(JSON.parse(unnamed.stdout)).toMatchObject({
      jobIds: expect.arrayContaining([expect.any(String)]),
    });
    expect(peer.submittedBatches).toHaveLength(2);
  });

  test("submits nothing when one line is wrong, and names the line", async () => {
    const ran = await runCli(["job", "submit", "-f", "-"], {
      ...input,
      stdin: '{"kind":"a"}\n{"kindd":"b"}\n',
    });
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain('stdin:2: kindd: unknown field "kindd"; did you mean kind?');
    expect(peer.calls).toEqual([]);
  });

  test("names the line of a job that the server refuses", async () => {
    writeFileSync(join(directory.path, "jobs.yaml"), "jobs:\n  - kind: a\n  - kind: b\n    points: 99999\n");
    peer.failNext(
      makeError(Code.InvalidArgument, "a job is not valid", {
        reason: "JOB_INVALID",
        violations: [{ field: "jobs[1].points", message: "must be at most 10,000" }],
        suggestion: "Correct it.",
      }),
    );
    const ran = await runCli(["job", "submit", "-f", "jobs.yaml"], input);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("why: jobs.yaml:3:5: points: must be at most 10,000");
  });

  test("cuts above 10,000 jobs, says so, and tells what stays when a later batch fails", async () => {
    const stdin = '{"kind":"a"}\n'.repeat(10_001);
    const fine = await runCli(["job", "submit", "-f", "-", "--idempotency-key", "k"], { ...input, stdin });
    expect(fine.exitCode).toBe(0);
    expect(fine.stderr).toContain(
      "10,001 jobs do not fit into one batch (10,000 jobs, 4 MiB): submitting 2 batches",
    );
    expect(peer.submittedBatches.map(({ jobs, idempotencyKey }) => [jobs.length, idempotencyKey])).toEqual([
      [10_000, "k/1"],
      [1, "k/2"],
    ]);
    const running = startCli(["job", "submit", "-f", "-"], { ...input, stdin });
    await peer.called("SubmitBatch", 3);
    peer.failNext(
      makeError(Code.ResourceExhausted, "too many jobs", { reason: "QUOTA", suggestion: "Wait." }),
      "SubmitBatch",
    );
    expect(await running.exit).toBe(12);
    expect(running.stderr()).toContain("too many jobs; 1 batch before it stay");
    expect(running.stderr()).toContain("from stdin:10001 on");
  });

  test("with --wait exits with 9 when one of the jobs died", async () => {
    const running = startCli(["job", "submit", "-f", "-", "--wait"], {
      ...input,
      stdin: '{"kind":"a"}\n{"kind":"b"}\n',
    });
    await peer.called("WaitBatch", 1);
    const [first = "", second = ""] = peer.jobs.keys();
    peer.changeJob(first, { state: JobState.SUCCEEDED });
    peer.changeJob(second, { state: JobState.DEAD });
    expect(await running.exit).toBe(9);
    expect(running.stdout()).toMatch(/succeeded\t1\n.*dead\t1/s);
  });

  test("cuts by size as well as by number", () => {
    const job = create(JobSpecSchema, { kind: "a", payload: payloadOfText(`"${"x".repeat(1_000_000)}"`) });
    const chunks = cutChunks(Array.from({ length: 9 }, () => job));
    expect(chunks.map(({ start, jobs }) => [start, jobs.length])).toEqual([
      [0, 4],
      [4, 4],
      [8, 1],
    ]);
  });
});
