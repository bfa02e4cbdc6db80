import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { services } from "../../tui/rpc/services.ts";
import { type ApiPeer, startApiPeer } from "../support/api-peer.ts";
import { type RunInput, runCli } from "./run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
  for (const jobId of ["job_1", "job_2"]) peer.addJob({ jobId, state: JobState.READY });
});

afterEach(() => peer.close());

describe("--read-only", () => {
  test("refuses every call that changes something, before it leaves, however it was said", async () => {
    const id = "job_01jd9y3f4k8qkx2m0000000001";
    for (const [flags, env] of [
      [["--read-only"], {}],
      [[], { MUSTER_READ_ONLY: "1" }],
    ] as const) {
      const ran = await runCli(["job", "cancel", id, ...flags], { env: { ...input.env, ...env } });
      expect(ran).toMatchObject({ exitCode: 4, stdout: "", stderr: expect.stringContaining("(READ_ONLY)") });
    }
    expect(peer.calls).toEqual([]);
    expect((await runCli(["job", "list", "--read-only"], input)).exitCode).toBe(0);
  });

  test("can rely on the contract: what reads says so, and nothing else does", () => {
    for (const service of services) {
      for (const method of service.methods) {
        const reads = /^(Get|List|Read|Preview|Render|Watch|Wait|Explain|Check|Lookup|Verify|WhoAmI)/.test(
          method.name,
        );
        if (service.name === "WorkerService") continue;
        const says = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
        expect([method.name, says]).toEqual([method.name, reads]);
      }
    }
  });
});

describe("--request-id", () => {
  test("names what is asked for, the second call by a number of its own", async () => {
    const ids: string[] = [];
    peer.onRequest = (_name, message) => {
      if ("requestId" in message) ids.push(String(message.requestId));
    };
    await runCli(["job", "cancel", "job_1", "job_2", "--request-id", "r1"], input);
    expect(ids).toEqual(["r1", "r1-2"]);
  });
});
