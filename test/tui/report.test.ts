import { createServer } from "node:http";
import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { JobService } from "@muster/client/v1/job_service";
import { describe, expect, test } from "vitest";
import { sanitize } from "../../tui/output/sanitize.ts";
import { runCli } from "./run-cli.ts";

// A colour in one character, an escape, and a turned text.
const hostile = "\u009b31m\u001b[2J\u202egpj\u007f";

/** A coordinator that refuses everything in such words. */
async function refusing(code: Code): Promise<{ readonly address: string } & AsyncDisposable> {
  const adapter = connectNodeAdapter({
    routes: (router) => {
      router.rpc(JobService.method.listJobs, () => {
        throw new ConnectError(hostile, code);
      });
    },
  });
  const server = createServer(adapter);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    address: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function unsafeLines(text: string): string[] {
  return text.split("\n").filter((line) => sanitize(line) !== line);
}

describe("an error in the words of others", () => {
  test("is fit for a terminal as JSON too, and means the same", async () => {
    await using peer = await refusing(Code.FailedPrecondition);
    const env = { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: "k" };
    const ran = await runCli(["job", "list", "-o", "json"], { env });
    expect(ran.exitCode).toBe(5);
    expect(JSON.parse(ran.stderr)).toMatchObject({ error: { message: hostile } });
    expect(unsafeLines(ran.stderr)).toEqual([]);
  });

  test("is fit for a terminal with the stack that --verbose asks for", async () => {
    await using peer = await refusing(Code.Internal);
    const env = { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: "k" };
    const ran = await runCli(["job", "list", "--verbose"], { env });
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toContain("    at ");
    expect(unsafeLines(ran.stderr)).toEqual([]);
  });
});
