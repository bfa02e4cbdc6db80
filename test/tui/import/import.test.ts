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

  test("takes the rules of an alerts.yaml over, for channels that are there", async () => {
    const run = await org("rules");
    const early = await run(["import", "alerts.yaml", "--yes"]);
    expect(early).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("alerts.yaml:5:") });
    writeFileSync(
      join(directory.path, "ops.yaml"),
      "kind: channel\nname: ops\nspec: { discord: { webhookUrl: https://discord.com/api/webhooks/1/abcdefgh } }\n",
    );
    expect(await run(["apply", "-f", "ops.yaml"], directory.path)).toMatchObject({ exitCode: 0 });
    const made = await run(["import", "alerts.yaml", "--yes"]);
    expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("alert\tjob-dead\tcreated") });
    const rules = JSON.parse((await run(["export", "alert", "-o", "json"])).stdout);
    expect(rules.map(({ name }: { name: string }) => name)).toEqual([
      "failure-rate",
      "job-dead",
      "worker-stale",
    ]);
    expect(rules[0].spec).toMatchObject({
      condition: "failure_rate",
      threshold: 20,
      window: "1h",
      channels: ["ops"],
    });
    expect(rules[1].spec).toMatchObject({ threshold: 3, window: "10m", throttle: "30m" });
    const shares: [string, number, boolean][] = [
      ["0.5", 50, true],
      ["0.07", 7, true],
      ["1", 100, true],
      ["'0.25'", 25, true],
      ["1.5", 1.5, false],
      ["0.5%", 0.5, false],
    ];
    for (const [written, percent, isConverted] of shares) {
      const text = `rules:\n  - on: failure_rate\n    threshold: ${written}\n  - on: job_failed\n    threshold: 1\n`;
      writeFileSync(join(directory.path, "shares.yaml"), text);
      const shown = await run(["import", "shares.yaml", "--dry-run", "-o", "json"], directory.path);
      const { changes } = JSON.parse(shown.stdout);
      const thresholds = changes.map(
        (change: { fields: { path: string; after: unknown }[] }) =>
          change.fields.find(({ path }) => path === "threshold")?.after,
      );
      expect([written, ...thresholds]).toEqual([written, percent, 1]);
      const words = `shares.yaml:3:16: threshold: ${written.replaceAll("'", "")} is taken as a share: ${percent} %`;
      expect([written, shown.stderr.includes(words)]).toEqual([written, isConverted]);
    }
    expect((await run(["import", "alerts.yaml"])).stderr).toContain("Everything is there already.");
    writeFileSync(join(directory.path, "bad.yaml"), "rules:\n  - on: job_faild\n    treshold: 3\n");
    const bad = await run(["import", "bad.yaml"], directory.path);
    expect(bad).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("bad.yaml:3:5: rules[0].treshold: unknown field"),
    });
    writeFileSync(join(directory.path, "bad.yaml"), "rules:\n  - on: job_faild\n");
    expect((await run(["import", "bad.yaml"], directory.path)).stderr).toContain("bad.yaml:2:9: on:");
  });
});
