import { readdirSync } from "node:fs";
import { JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { services } from "../../../tui/rpc/services.ts";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli, startCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
  peer.addJob({ jobId: "job_1", state: JobState.READY });
});

afterEach(() => peer.close());

describe("rpc", () => {
  test("calls a method by its name, its short or its full one, with JSON from anywhere", async () => {
    const request = '{"jobId":"job_1"}';
    for (const [argv, stdin] of [
      [["GetJob", "-d", request], undefined],
      [["JobService/GetJob", "-d", "@-"], request],
      [["muster.v1.JobService/GetJob", "-d", request, "--json"], undefined],
    ] as const) {
      const ran = await runCli(["rpc", ...argv], { ...input, ...(stdin === undefined ? {} : { stdin }) });
      expect(JSON.parse(ran.stdout)).toMatchObject({ job: { jobId: "job_1", state: "JOB_STATE_READY" } });
    }
  });

  test("takes --fields of the answer, whose first list need not be what it is about", async () => {
    const ran = await runCli(["rpc", "ListJobs", "--fields", "jobId"], input);
    expect(ran.stdout).toBe("jobId\njob_1\n");
    const checked = await runCli(["rpc", "CheckServer", "--fields", "checks", "--json"], input);
    expect(JSON.parse(checked.stdout)).toEqual({ checks: [] });
  });

  test("prints what streams as JSON lines", async () => {
    const running = startCli(["rpc", "StatusService/WatchStatus"], input);
    await running.printed("\n");
    expect(JSON.parse(running.stdout().split("\n")[0] ?? "")).toMatchObject({ status: { org: "default" } });
    running.interrupt();
    expect(await running.exit).toBe(130);
  });

  test.each([
    [["GetJbo"], "Did you mean GetJob?"],
    [["JobService/Nope"], "muster rpc --list"],
    [["GetJob", "-d", "{"], "--data is not JSON"],
    [["GetJob", "-d", '{"jobld":"x"}'], "Its fields are jobId, externalId"],
    [["GetJob", "-d", "@/nonexistent/x"], "cannot read"],
  ])("answers %j with what is wrong", async (argv, message) => {
    const ran = await runCli(["rpc", ...argv], input);
    expect(ran).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining(message) });
  });

  test("reports an error of the call as every command does, and obeys --read-only", async () => {
    expect((await runCli(["rpc", "GetJob", "-d", '{"jobId":"job_9"}'], input)).exitCode).toBe(3);
    const refused = await runCli(["rpc", "CancelJob", "-d", '{"jobId":"job_1"}', "--read-only"], input);
    expect(refused.exitCode).toBe(4);
    expect(peer.calls).toEqual(["GetJob"]);
  });

  test("lists every method of every service that there is", async () => {
    const { stdout } = await runCli(["rpc", "--list", "-o", "name"], input);
    expect(stdout).toContain("JobService/SubmitJob\n");
    const files = readdirSync(new URL("../../../proto/muster/v1", import.meta.url)).filter((one) =>
      /_service\./.test(one),
    );
    expect(services.map((one) => one.file.name.replace("muster/v1/", "").concat(".proto")).sort()).toEqual(
      files.sort(),
    );
  });
});
