import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OrgService } from "@muster/client/v1/org_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { makeDirectory, runCli } from "../run-cli.ts";

const samples = fileURLToPath(new URL(".", import.meta.url));
const directory = makeDirectory();
let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(async () => {
  await muster?.close();
  directory.remove();
});

async function org(name: string) {
  const { text: key } = await muster.client(OrgService).createOrg({ name });
  const env = {
    MUSTER_ADDRESS: muster.server.apiAddress,
    MUSTER_API_KEY: key,
    XDG_STATE_HOME: directory.path,
  };
  return (argv: readonly string[], cwd = samples) => runCli(argv, { cwd, env });
}

describe("muster import", () => {
  test("shows what a scheduler.yaml comes to, then makes it, and the second time nothing", async () => {
    const run = await org("jobs");
    const shown = await run(["import", "scheduler.yaml", "--dry-run"]);
    expect(shown).toMatchObject({
      exitCode: 0,
      stdout: "+ schedule check\n+ schedule backup\n+ schedule report\n",
    });
    expect(shown.stderr).toContain(
      "scheduler.yaml:13:17: jobs of schedules do not wait for each other: backup",
    );
    expect((await run(["schedule", "list", "-o", "name"])).stdout).toBe("");
    expect(await run(["import", "scheduler.yaml", "--no-input"])).toMatchObject({ exitCode: 2 });
    expect(await run(["import", "scheduler.yaml", "--yes"])).toMatchObject({ exitCode: 0 });
    const made = JSON.parse((await run(["export", "schedule", "-o", "json"])).stdout);
    expect(made.map(({ name }: { name: string }) => name)).toEqual(["backup", "check", "report"]);
    expect(made[0].spec).toMatchObject({
      cron: "30 2 * * *",
      zone: "UTC",
      labels: { "depends-on": "check" },
      job: {
        kind: "shell.run",
        priority: 192,
        retry: { maxAttempts: 3 },
        payload: { argv: ["make", "backup"] },
      },
    });
    expect(made[1].spec).toMatchObject({ cron: "0 2 * * *", zone: "Europe/Berlin" });
    expect(made[2].spec).toMatchObject({ cron: "@weekly", paused: true });
    expect((await run(["import", "scheduler.yaml"])).stderr).toContain("Everything is there already.");
  });

  test("names what is wrong where it is, and makes nothing", async () => {
    const run = await org("wrong");
    const text = readFileSync(join(samples, "scheduler.yaml"), "utf8");
    const wrong: [string, string, string][] = [
      ["0 2 * * *", "0 26 * * *", "bad.yaml:6:11: cron:"],
      ["timezone: UTC", "timezone: Mars", "bad.yaml:11:15: zone:"],
      ["priority: high", "priority: hihg", "bad.yaml:12:15: job.priority: is not a priority"],
      [
        "retries: 2",
        "retires: 2",
        'bad.yaml:14:5: jobs[1].retires: unknown field "retires"; did you mean retries?',
      ],
      ["[check]", "[chek]", 'bad.yaml:13:17: depends_on: there is no job "chek"'],
      ["  - id: check", "\t- id: check", "bad.yaml:4:1: is indented with a tab"],
      ["retries: 2", "retries: two", "bad.yaml:14:14: jobs[1].retries: expected number"],
    ];
    for (const [from, to, words] of wrong) {
      writeFileSync(join(directory.path, "bad.yaml"), text.replace(from, to));
      const ran = await run(["import", "bad.yaml", "--yes"], directory.path);
      expect([to, ran.exitCode, ran.stderr]).toEqual([to, 2, expect.stringContaining(words)]);
    }
    writeFileSync(join(directory.path, "bad.yaml"), "things: []\n");
    expect(await run(["import", "bad.yaml"], directory.path)).toMatchObject({ exitCode: 2 });
    expect((await run(["schedule", "list", "-o", "name"])).stdout).toBe("");
  });
});
