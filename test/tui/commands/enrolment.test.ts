import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enrolOwnWorker } from "../../../server/domain/enrol.ts";
import { createKeyContext, derivePepper } from "../../../server/domain/keys.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { testCaller, testCoordinator } from "../../support/database.ts";
import { testSecret } from "../../support/postgres.ts";
import { runCli } from "../run-cli.ts";

let muster: TestServer;
let folder: string;
beforeAll(async () => {
  muster = await startTestServer();
  folder = mkdtempSync(join(tmpdir(), "muster-enrol-"));
});
afterAll(async () => {
  await muster?.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...argv: string[]) =>
  runCli(argv, {
    cwd: folder,
    env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key },
  });
const read = (name: string) => readFileSync(join(folder, name), "utf8");

describe("muster enrolment", () => {
  test("makes a token, with which a machine enrols itself", async () => {
    const options = [
      "--skill",
      "gpu",
      "--slots",
      "2",
      "--name-pattern",
      "lab-*",
      "--token-file",
      "lab.token",
    ];
    const made = await run("enrolment", "create", "lab", ...options);
    expect(made).toMatchObject({ exitCode: 0, stdout: "" });
    expect(statSync(join(folder, "lab.token")).mode & 0o777).toBe(0o600);
    const list = await run("enrolment", "list");
    expect(list.stdout).toMatch(/lab\s+\w{12}\s+active\s+0\/1\s+lab-\*/);
    const enrolled = await run(
      "worker",
      "enrol",
      "lab-1",
      "--token-file",
      "lab.token",
      "--key-file",
      "lab.key",
    );
    expect(enrolled).toMatchObject({ exitCode: 0 });
    expect(enrolled.stdout).toMatch(/^lab-1\twrk_\w+\tenrolled\n$/);
    expect(read("lab.key")).toMatch(/^mk_worker_\w+\n$/);
    expect(statSync(join(folder, "lab.key")).mode & 0o777).toBe(0o600);
    const again = await run(
      "worker",
      "enrol",
      "lab-2",
      "--token-file",
      "lab.token",
      "--key-file",
      "other.key",
    );
    expect(again).toMatchObject({ exitCode: 4 });
    expect((await run("enrolment", "list", "--ended")).stdout).toMatch(/\bused\b/);
    const facts = await run("worker", "get", "lab-1");
    expect(facts.stdout).toContain("limits\tskills gpu, slots 2\n");
  }, 60_000);

  test("goes on with what a command that was cut short has begun", async () => {
    await run("enrolment", "create", "lost", "--token-file", "lost.token");
    await run("worker", "enrol", "lost-1", "--token-file", "lost.token", "--key-file", "lost.key");
    const first = read("lost.key");
    const [use] = await muster.database.admin`select request_id from muster.enrolment_uses u
      join muster.workers w on w.worker_id = u.worker_id and w.name = 'lost-1'`;
    // As if the answer had not come.
    writeFileSync(join(folder, "lost.key"), `# enrolling ${use?.["request_id"]}\n`);
    const again = await run(
      "worker",
      "enrol",
      "lost-1",
      "--token-file",
      "lost.token",
      "--key-file",
      "lost.key",
    );
    expect(again).toMatchObject({ exitCode: 0 });
    expect(read("lost.key")).not.toBe(first);
  }, 60_000);

  test("is done by the worker itself, at its first start", async () => {
    await run("enrolment", "create", "self", "--token-file", "self.token");
    const { apiAddress, workerAddress } = muster.server;
    const addresses = ["--address", workerAddress, "--api-address", apiAddress];
    const files = [
      "--key-file",
      "self.key",
      "--enrol-token-file",
      "self.token",
      "--state-dir",
      join(folder, "s"),
    ];
    const first = await run("worker", "run", ...addresses, ...files, "--once");
    expect(first.exitCode).toBe(20);
    expect(first.stderr).toMatch(/This machine is enrolled as .+\. Its key is in self\.key\./);
    const key = read("self.key");
    expect(await run("worker", "run", ...addresses, ...files, "--once")).toMatchObject({ exitCode: 20 });
    expect(read("self.key")).toBe(key);
  }, 60_000);

  test("revokes a token, and shows and sets the policy", async () => {
    const { stdout } = await run("enrolment", "create", "gone", "--json");
    const id: string = JSON.parse(stdout).enrolment.enrolmentId;
    expect(await run("enrolment", "revoke", id, "--yes")).toMatchObject({ stdout: `${id}\trevoked\n` });
    expect((await run("enrolment", "policy")).stdout).toContain("own machines\tclosed\n");
    const set = await run("enrolment", "set-policy", "approval", "--skill", "linux", "--machines", "5");
    expect(set.stdout).toBe(
      "own machines\tapproval\na person\t5\nlimits\tskills linux\nnewcomers\tslots 1, open pull requests 1\n",
    );
    expect(await run("enrolment", "set-policy", "opne")).toMatchObject({ exitCode: 2 });
  }, 60_000);
});

describe("muster worker", () => {
  test("approves, limits and rejects machines, and says when they are given", async () => {
    await run("enrolment", "set-policy", "approval");
    const [org] = await muster.database.admin`select org_id from muster.orgs where name = 'default'`;
    const base = testCoordinator(muster.database);
    const c = { ...base, ...createKeyContext(base, { pepper: derivePepper(testSecret) }) };
    const person = testCaller(String(org?.["org_id"]), { actor: "person:ann", personId: "ann", scopes: [] });
    await enrolOwnWorker(c, person, { name: "mac", availability: { limits: null, hours: null } });
    expect((await run("worker", "list", "--filter", "owner:person:*")).stdout).toMatch(
      /person:ann\s+waits for approval/,
    );
    expect((await run("worker", "list", "--mine")).stdout).not.toContain("mac");
    expect(await run("worker", "approve", "mac")).toMatchObject({ stdout: "mac\tapproved\n" });
    expect((await run("worker", "limit", "mac", "--skill", "a,b")).stdout).toBe("mac\tskills a,b\n");
    expect((await run("worker", "limit", "mac", "--none")).stdout).toBe("mac\tno limits\n");
    const hours = ["--hours", "fri-mon 18:00-08:00", "--zone", "Europe/Berlin", "--slots", "2"];
    expect((await run("worker", "availability", "mac", ...hours)).stdout).toBe(
      "mac\tslots 2, all points, mon,fri,sat,sun 18:00-08:00 Europe/Berlin\n",
    );
    expect((await run("worker", "availability", "mac", "--always")).stdout).toBe(
      "mac\tslots 2, all points, always\n",
    );
    expect(await run("worker", "availability", "mac", "--hours", "noon")).toMatchObject({ exitCode: 2 });
    expect(await run("worker", "reject", "mac", "--yes")).toMatchObject({ stdout: "mac\trejected\n" });
    expect((await run("worker", "get", "mac")).stdout).toContain("state\tDISABLED\n");
    expect(await run("worker", "enrol", "mine", "--key-file", "mine.key")).toMatchObject({ exitCode: 4 });
  }, 60_000);
});
