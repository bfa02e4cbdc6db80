import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { JobState } from "@muster/client/v1/job";
import { WorkerSchema } from "@muster/client/v1/worker";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli } from "../run-cli.ts";

const first = "job_01jd9y3f4k8qkx2m0000000001";
const second = "job_01jd9y3f4k8qkx2m0000000abc";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
  for (const jobId of [first, second]) peer.addJob({ jobId, state: JobState.READY });
});

afterEach(() => peer.close());

const get = (id: string) => runCli(["job", "get", id, "-o", "name"], input);

describe("part of an id", () => {
  test("may be the end, as tables show it, or the beginning, with or without the prefix", async () => {
    for (const part of [
      "abc",
      "…0ABC",
      "...0abc",
      "job_01jd9y3f4k8qkx2m0000000a",
      "01jd9y3f4k8qkx2m0000000a",
    ]) {
      expect(await get(part)).toMatchObject({
        exitCode: 0,
        stdout: `${second}\n`,
        stderr: `${part} is ${second}\n`,
      });
    }
  });

  test("costs no call when it is the whole", async () => {
    expect((await get(first)).stdout).toBe(`${first}\n`);
    expect((await get("job_01jd9y3f4k8qkx2m0000000zzz")).exitCode).toBe(3);
    expect(peer.calls).not.toContain("Lookup");
  });

  test("that stands for several does nothing, and tells them", async () => {
    const ran = await runCli(["job", "cancel", first, "01jd9"], input);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("(AMBIGUOUS_ID)");
    expect(ran.stderr).toContain(`01jd9: ${first}`);
    expect(ran.stderr).toContain(`01jd9: ${second}`);
    expect(peer.calls).toEqual(["Lookup"]);
  });

  test("that stands for nothing is not found", async () => {
    expect(await get("zzzz")).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("JOB_NOT_FOUND"),
    });
  });

  test("works in options, too", async () => {
    const ran = await runCli(["job", "list", "--parent", "0abc"], input);
    expect(ran.stderr).toContain(`0abc is ${second}`);
  });

  test("of a worker is part of its id alone: a name is never taken for another", async () => {
    const id = "wrk_01jd9y3f4k8qkx2m0000000w7x";
    peer.workers.set(id, create(WorkerSchema, { workerId: id, name: "mac7-long" }));
    expect((await runCli(["worker", "get", "0w7x", "-o", "name"], input)).stdout).toBe(`${id}\n`);
    for (const name of ["mac7", "mac7-lon", "gpu"]) {
      expect((await runCli(["worker", "drain", name], input)).exitCode).toBe(3);
    }
    expect((await runCli(["worker", "get", "mac7-long", "-o", "name"], input)).stdout).toBe(`${id}\n`);
  });

  test("is left to the call where the coordinator cannot look it up", async () => {
    peer.addJob({ jobId: "job_1", state: JobState.READY });
    for (const code of [Code.Unimplemented, Code.PermissionDenied]) {
      peer.failNext(new ConnectError("no", code), "Lookup");
      expect((await get("job_1")).stdout).toBe("job_1\n");
    }
    peer.failNext(new ConnectError("gone", Code.Unavailable), "Lookup");
    expect((await get("job_1")).exitCode).toBe(6);
  });
});
