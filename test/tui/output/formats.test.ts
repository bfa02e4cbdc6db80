import { JobState } from "@muster/client/v1/job";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { sanitize } from "../../../tui/output/sanitize.ts";
import { showYaml } from "../../../tui/output/yaml.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = {
    env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key },
    nowMs: Date.UTC(2026, 10, 22, 12),
  };
  for (const [at, jobId] of ["job_1", "job_2"].entries()) {
    peer.addJob({
      jobId,
      state: JobState.READY,
      createTime: { seconds: BigInt(Date.UTC(2026, 10, 22, 11) / 1000 + at), nanos: 0 },
      spec: { kind: "shell.run", labels: { team: "web", [`n${at}`]: "x" } },
    });
  }
});

afterEach(() => peer.close());

const list = async (...flags: string[]) => (await runCli(["job", "list", ...flags], input)).stdout;

describe("formats", () => {
  test("json is one document, jsonl a row a line, yaml the same data, none nothing", async () => {
    const whole = JSON.parse(await list("-o", "json"));
    expect(whole.jobs).toHaveLength(2);
    expect(parse(await list("-o", "yaml"))).toEqual(whole);
    const lines = (await list("-o", "jsonl")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(whole.jobs);
    expect(await list("-o", "none")).toBe("");
    expect((await runCli(["job", "get", "job_9", "-o", "none"], input)).exitCode).toBe(3);
  });

  test("several answers are documents of YAML", async () => {
    const { stdout } = await runCli(["job", "cancel", "job_1", "job_2", "-o", "yaml"], input);
    const documents = parseAllDocuments(stdout);
    expect(Array.isArray(documents) && documents.map((one) => one.getIn(["job", "jobId"]))).toEqual([
      "job_1",
      "job_2",
    ]);
  });

  test("--fields chooses columns and fields", async () => {
    expect(await list("--fields", "jobId,spec.kind,spec.labels.team")).toBe(
      "jobId\tspec.kind\tspec.labels.team\njob_1\tshell.run\tweb\njob_2\tshell.run\tweb\n",
    );
    expect(JSON.parse(await list("--fields", "jobId,spec.labels", "--json", "--limit", "1"))).toEqual({
      jobs: [{ jobId: "job_1", spec: { labels: { team: "web", n0: "x" } } }],
      nextPageToken: expect.any(String),
    });
    expect(await list("--fields", "job_id", "-o", "jsonl")).toBe('{"jobId":"job_1"}\n{"jobId":"job_2"}\n');
    const one = await runCli(["job", "get", "job_1", "--fields", "state", "--no-headers"], input);
    expect(one.stdout).toBe("JOB_STATE_READY\n");
  });

  test("--fields tells all that it does not know, and what was meant", async () => {
    const ran = await runCli(["job", "list", "--fields", "jobld,spec.knid,state.x"], input);
    expect(ran).toMatchObject({ exitCode: 2, stdout: "" });
    for (const text of [
      "jobld: Did you mean jobId?",
      "spec.knid: Did you mean kind?",
      "state.x: has nothing below",
    ]) {
      expect(ran.stderr).toContain(text);
    }
  });

  test("--no-headers leaves the titles out, --time shows the time itself", async () => {
    expect((await list("--no-headers")).split("\n")).toHaveLength(3);
    expect(await list()).toContain("\t1h00m\t");
    expect(await list("--time", "iso")).toContain("\t2026-11-22T11:00:00.000Z\t");
    expect(await list("--time", "raw")).toContain(`\t${Date.UTC(2026, 10, 22, 11) / 1000}.000\t`);
  });

  test("wide cuts nothing where a terminal is narrow, and MUSTER_OUTPUT is the default", async () => {
    peer.addJob({ jobId: "job_3", state: JobState.READY, spec: { kind: "k".repeat(90) } });
    const terminal = { columns: 40, rows: 10 };
    const narrow = await runCli(["job", "list"], { ...input, terminal });
    expect(narrow.stdout).not.toContain("k".repeat(90));
    const wide = await runCli(["job", "list"], {
      ...input,
      terminal,
      env: { ...input.env, MUSTER_OUTPUT: "wide" },
    });
    expect(wide.stdout).toContain("k".repeat(90));
    expect(
      JSON.parse(
        (await runCli(["job", "list", "--json"], { env: { ...input.env, MUSTER_OUTPUT: "wide" } })).stdout,
      ),
    ).toBeTruthy();
  });

  test.each([
    [["--time", "is"], "--time has no style"],
    [["--color", "x"], "--color has no value"],
    [["--fields", ","], "--fields names no field"],
    [["--json", "-o", "yaml"], "contradict each other"],
  ])("refuses %j", async (flags, message) => {
    const ran = await runCli(["job", "list", ...flags], input);
    expect(ran).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
    expect(peer.calls).toEqual([]);
  });
});

describe("showYaml", () => {
  const hostile = fc
    .array(
      fc.oneof(
        fc.string(),
        fc.constantFrom(
          "\u001b[2J",
          "\u202e",
          "\n",
          "\r",
          "\u009b1m",
          "- ",
          ": ",
          "#",
          "'",
          '"',
          "\u2028",
          "%",
          "!!x",
        ),
      ),
    )
    .map((parts) => parts.join(""));

  test("says the same as JSON, and holds nothing that a terminal acts on", () => {
    fc.assert(
      fc.property(
        fc.dictionary(hostile, fc.oneof(hostile, fc.array(hostile), fc.integer(), fc.boolean())),
        (value) => {
          const text = showYaml(value);
          expect(text.split("\n").filter((line) => sanitize(line) !== line)).toEqual([]);
          expect(parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        },
      ),
      { numRuns: 500 },
    );
  });
});
