import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  AttentionCause,
  AttentionSeverity,
  CheckWorkResponseSchema,
  ExplainJobResponseSchema,
  ExplainWorkerResponseSchema,
  ListAttentionResponseSchema,
} from "@muster/client/v1/explain_service";
import { JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { newsOf } from "../../../tui/commands/job-waiting.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key }, nowMs };
});

afterEach(() => peer.close());

const terminal = { columns: 100, rows: 30 };
const nowMs = Date.now();
const ago = (ms: number) => timestampFromMs(nowMs - ms);
/** What a terminal shows, without its colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are made of
const plain = (text: string) => text.replace(/\u001b\[[0-9;]*m/g, "");

describe("job explain", () => {
  function addExplanation(workers = 2) {
    peer.explanations.set(
      "job_1",
      create(ExplainJobResponseSchema, {
        job: { jobId: "job_1" },
        summary: "The queue nightly is paused for 4m05s, until somebody resumes it (mov\u001bing).",
        gates: [
          { name: "state", open: true, detail: "READY since 2026-11-22T19:00:00Z" },
          { name: "queue", open: false, detail: "nightly: paused (mov\u001bing)" },
        ],
        workers: Array.from({ length: workers }, (_, n) =>
          n === 0
            ? { workerName: "gpu-1", qualifies: true, detail: "could run it now" }
            : { workerName: `cpu-${n}`, reason: "skills", detail: "lacks gpu" },
        ),
        workerCounts: { skills: workers - 1, qualifies: 1, offline: 1_200 },
        releases: ["Resume it: muster queue resume nightly"],
        jobsAhead: 3_204,
        estimatedStartTime: timestampFromMs(Date.UTC(2026, 10, 22, 20)),
      }),
    );
  }

  test("shows what it must pass, who does not take it and why, and what would release it", async () => {
    addExplanation();
    const { stdout, exitCode } = await runCli(["job", "explain", "job_1"], input);
    expect(exitCode).toBe(0);
    expect(stdout.replace(/\((in|\d).*\)/, "(…)")).toBe(`\
The queue nightly is paused for 4m05s, until somebody resumes it (mov␛ing).

✓ state  READY since 2026-11-22T19:00:00Z
✗ queue  nightly: paused (mov␛ing)

ahead of it\t3,204 ready jobs
starts\t2026-11-22T20:00:00.000Z (…)
workers\t1 qualifies, 1,200 offline, 1 skills

WORKER\tREASON\tWHY
gpu-1\tqualifies\tcould run it now
cpu-1\tskills\tlacks gpu

What would release it:
  1. Resume it: muster queue resume nightly
`);
  });

  test("uses no characters beyond ASCII where the terminal has none", async () => {
    addExplanation();
    const { stdout } = await runCli(["job", "explain", "job_1", "--ascii"], { ...input, terminal });
    expect(plain(stdout)).toContain("+ state  READY");
    expect(plain(stdout)).toContain("x queue  nightly");
  });

  test("shows 20 workers unless all are wanted", async () => {
    addExplanation(25);
    const some = await runCli(["job", "explain", "job_1"], input);
    expect(some.stdout).toContain("\ncpu-19\t");
    expect(some.stdout).toContain("\nand 5 more: --all\n");
    const all = await runCli(["job", "explain", "job_1", "--all"], input);
    expect(all.stdout).toContain("\ncpu-24\t");
    expect(all.stdout).not.toContain("more: --all");
  });

  test("prints the answer whole as JSON, and asks for one job", async () => {
    addExplanation(25);
    const { stdout } = await runCli(["job", "explain", "--external-id", "job_1", "-o", "json"], input);
    expect(JSON.parse(stdout)).toMatchObject({ jobsAhead: 3_204, gates: [{ open: true }, { open: false }] });
    expect((await runCli(["job", "explain"], input)).exitCode).toBe(2);
    expect((await runCli(["job", "explain", "job_2"], input)).exitCode).toBe(3);
  });

  test("lends its sentence to job get; without it the job is shown all the same", async () => {
    addExplanation();
    peer.addJob({ jobId: "job_1", state: JobState.READY, spec: { kind: "a" } });
    expect((await runCli(["job", "get", "job_1"], input)).stderr).toContain("is paused for 4m05s");
    const old = makeError(Code.Unimplemented, "no", {
      reason: "UNIMPLEMENTED",
      suggestion: "",
      requestId: "",
    });
    peer.failNext(old, "ExplainJob");
    const { exitCode, stdout, stderr } = await runCli(["job", "get", "job_1"], input);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("job_1");
  });

  test("is not said again in a wait only because time goes by", () => {
    expect(newsOf("It waits for room on the one worker; 3,204 ready jobs go before it.")).toBe(
      newsOf("It waits for room on the one worker; 12 ready jobs go before it."),
    );
    expect(newsOf("It is parked, in 4s.")).toBe(newsOf("It is parked, in 3s."));
  });
});

describe("worker explain and work check", () => {
  const line = {
    kind: "render.frame",
    queue: "default",
    points: 8,
    requiredSkills: ["gpu", "ble\u0007nder"],
    ready: 10_000,
    firstJobId: "job_1",
    readyTime: ago(125_000),
    priority: 192,
  };

  test("a worker's idleness is explained with what it could and could not run", async () => {
    peer.workerExplanations.set(
      "cpu-1",
      create(ExplainWorkerResponseSchema, {
        worker: { workerId: "wrk_1" },
        summary: "Ready jobs are there, but none that it could run: 1 that need other skills.",
        lines: [
          { ...line, ready: 2 },
          { ...line, reason: "skills", detail: "lacks gpu" },
        ],
        fixes: ["Give it the skills gpu"],
      }),
    );
    const { stdout, exitCode } = await runCli(["worker", "explain", "cpu-1"], input);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(`\
Ready jobs are there, but none that it could run: 1 that need other skills.

KIND\tQUEUE\tREADY\tSINCE\tPRIORITY\tPOINTS\tSKILLS\tWHY NOT
render.frame\tdefault\t2\t2m05s\thigh\t8\tgpu ble␇nder\t
render.frame\tdefault\t10,000+\t2m05s\thigh\t8\tgpu ble␇nder\tskills: lacks gpu

What would bring it work:
  1. Give it the skills gpu
`);
    expect((await runCli(["worker", "explain", "cpu-1", "-o", "name"], input)).stdout).toBe("wrk_1\n");
    expect((await runCli(["worker", "explain", "nobody"], input)).exitCode).toBe(3);
  });

  test("work check ends with 0 when there is work and with 20 when there is none", async () => {
    const none = await runCli(["work", "check", "--skills", "gpu,zsh", "--points", "8"], input);
    expect(none).toMatchObject({ exitCode: 20, stdout: "", stderr: "No work.\n" });
    expect(peer.asked).toMatchObject([{ skills: ["gpu", "zsh"], points: 8, kinds: [] }]);
    peer.work = create(CheckWorkResponseSchema, { available: true, ready: 3, lines: [line] });
    const some = await runCli(["work", "check", "--kinds", "a"], input);
    expect(some.exitCode).toBe(0);
    expect(some.stdout).toBe(
      "KIND\tQUEUE\tREADY\tSINCE\tPRIORITY\tPOINTS\tSKILLS\nrender.frame\tdefault\t10,000+\t2m05s\thigh\t8\tgpu ble␇nder\n",
    );
    const json = await runCli(["work", "check", "--json", "-q"], input);
    expect(JSON.parse(json.stdout)).toMatchObject({ available: true, ready: 3 });
    expect((await runCli(["work", "check", "--points", "-1"], input)).exitCode).toBe(2);
  });

  test("job list --runnable-by asks for the jobs that a worker could run", async () => {
    await runCli(["job", "list", "--runnable-by", "gpu-1"], input);
    expect(peer.asked).toMatchObject([{ filter: { runnableBy: "gpu-1" } }]);
  });
});

describe("attention", () => {
  beforeEach(() => {
    peer.attention = create(ListAttentionResponseSchema, {
      items: [
        {
          attentionId: "no-route kind:render.frame 1",
          cause: AttentionCause.NO_ROUTE,
          severity: AttentionSeverity.CRITICAL,
          target: "kind:render.frame",
          summary: "No connected worker can run it",
          effect: "They stay ready",
          fix: "Repair the link of gpu-\u001b1",
          command: "muster worker get wrk_1",
          since: ago(125_000),
          jobs: 3_204,
        },
        {
          cause: AttentionCause.QUEUE_PAUSED,
          severity: AttentionSeverity.NOTICE,
          target: "queue:q",
          summary: "The queue q is paused",
          effect: "None is offered",
          fix: "Resume it",
          since: ago(5_000),
          jobs: 1,
        },
      ],
      truncated: true,
    });
  });

  test("is a table with fixes and commands", async () => {
    const { stdout, stderr, exitCode } = await runCli(["attention", "list"], input);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(`\
SEVERITY\tCAUSE\tTARGET\tSINCE\tJOBS\tSUMMARY\tFIX\tCOMMAND
CRITICAL\tno-route\tkind:render.frame\t2m05s\t3204\tNo connected worker can run it\tRepair the link of gpu-␛1\tmuster worker get wrk_1
NOTICE\tqueue-paused\tqueue:q\t5s\t1\tThe queue q is paused\tResume it\t
`);
    expect(stderr).toBe("Showing the worst 2; there are more.\n");
  });

  test("is told in full on a terminal, by its short name too", async () => {
    const { stdout } = await runCli(["attention"], { ...input, terminal });
    expect(plain(stdout)).toBe(`\
CRITICAL  no-route  kind:render.frame  for 2m05s, 3,204 jobs
  No connected worker can run it.
  effect  They stay ready.
  fix     Repair the link of gpu-␛1.
  run     muster worker get wrk_1

NOTICE  queue-paused  queue:q  for 5s, 1 job
  The queue q is paused.
  effect  None is offered.
  fix     Resume it.
`);
  });

  test("may be narrowed to causes; an unknown one is refused with what was meant", async () => {
    await runCli(["attention", "--cause", "no-route,JOB_TROUBLE"], input);
    expect(peer.asked).toMatchObject([{ causes: [AttentionCause.NO_ROUTE, AttentionCause.JOB_TROUBLE] }]);
    const wrong = await runCli(["attention", "list", "--cause", "no-rout"], input);
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("Did you mean no-route?");
  });

  test("is empty where all is well", async () => {
    peer.attention = create(ListAttentionResponseSchema);
    const ran = await runCli(["attention"], input);
    expect(ran).toMatchObject({ exitCode: 0, stdout: "", stderr: "Nothing needs attention.\n" });
    expect(JSON.parse((await runCli(["attention", "--json"], input)).stdout)).toEqual({
      items: [],
      truncated: false,
    });
  });
});
