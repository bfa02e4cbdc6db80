import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let muster: TestServer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;
beforeAll(async () => {
  muster = await startTestServer();
  directory = makeDirectory();
  input = {
    env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key },
    cwd: directory.path,
  };
});
afterAll(async () => {
  await muster?.close();
  directory?.remove();
});

const run = (...argv: string[]) => runCli(argv, input);

test("create keeps the first admin key of the org in a new file, which is for that org", async () => {
  const made = await run("org", "create", "acme", "--key-file", "acme.key");
  expect([made.exitCode, made.stdout]).toEqual([0, ""]);
  const path = join(directory.path, "acme.key");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const env = { ...input.env, MUSTER_API_KEY: readFileSync(path, "utf8").trim() };
  expect((await runCli(["whoami", "--json"], { ...input, env })).stdout).toContain('"acme"');
  const again = await run("org", "create", "acme");
  expect([again.exitCode, again.stdout]).toEqual([5, ""]);
});

test("every command acts for the org of --org, of MUSTER_ORG, and of the context", async () => {
  await run("org", "create", "named", "--key-file", "named.key");
  const org = async (argv: readonly string[], env: Record<string, string> = {}) => {
    const { stdout } = await runCli(["whoami", "--json", ...argv], {
      ...input,
      env: { ...input.env, ...env },
    });
    return JSON.parse(stdout).org;
  };
  expect(await org([])).toBe("default");
  expect(await org(["--org", "named"])).toBe("named");
  expect(await org([], { MUSTER_ORG: "named" })).toBe("named");
  expect(await org(["--org", "default"], { MUSTER_ORG: "named" })).toBe("default");
  const bad = await run("whoami", "--org", "no such");
  expect([bad.exitCode, bad.stderr]).toEqual([2, expect.stringContaining("muster org list")]);
});

test("suspend, resume and delete tell what they did, and delete asks for the name", async () => {
  await run("org", "create", "brief", "--key-file", "brief.key");
  expect((await run("org", "suspend", "brief", "--yes")).exitCode).toBe(2);
  const suspended = await run("org", "suspend", "brief", "--reason", "unpaid", "--yes");
  expect(suspended.stdout).toBe("brief\tsuspended\n");
  expect((await run("org", "list")).stdout).toMatch(/brief\s+suspended/);
  const refused = await run("job", "list", "--org", "brief");
  expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining("unpaid")]);
  expect((await run("org", "resume", "brief")).stdout).toBe("brief\tresumed\n");
  await run("org", "suspend", "brief", "--reason", "left", "--yes");
  const unsure = await run("org", "delete", "brief", "--reason", "left", "--yes");
  expect([unsure.exitCode, unsure.stderr]).toEqual([2, expect.stringContaining("--confirm brief")]);
  const deleted = await run("org", "delete", "brief", "--reason", "left", "--confirm", "brief");
  expect(deleted.stdout).toBe("brief\tdeleted\n");
  expect((await run("org", "get", "brief")).stdout).toMatch(/state\s+deleting/);
});

test("audit verify tells that the log is as it was sealed, and its head", async () => {
  const fine = await run("audit", "verify", "--json");
  expect([fine.exitCode, fine.stderr]).toEqual([0, expect.stringContaining("as it was sealed")]);
  const wrong = await run("audit", "verify", "--head", `999999:${"a".repeat(64)}`);
  expect([wrong.exitCode, wrong.stdout]).toEqual([
    11,
    expect.stringContaining("is not the head that was kept"),
  ]);
});
