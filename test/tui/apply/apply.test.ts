import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { OrgService } from "@muster/client/v1/org_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { documentsSchema } from "../../../tui/apply/json-schema.ts";
import { resources } from "../../../tui/apply/resources.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { makeDirectory, runCli } from "../run-cli.ts";

const whole = `kind: project
name: acme/web
spec: { maxOpenPrs: 5 }
---
kind: queue
name: renders
spec: { running: 20, startRate: { jobs: 10, per: 90s } }
---
kind: pool
name: acme-api
spec: { running: 2 }
---
kind: channel
name: ops
spec: { webhook: { url: "https://hooks.example.com/muster", secret: !env HOOK_SECRET } }
---
kind: alert
name: dead-jobs
spec: { condition: job_dead, threshold: 3, window: 10m, channels: [ops], severity: critical }
---
kind: template
name: greet
spec:
  parameters: [{ name: who, default: world }]
  job: { kind: shell.run, payload: { argv: [echo, "{{who}}"] } }
---
kind: schedule
name: nightly
spec:
  cron: 30 2 * * *
  zone: America/New_York
  overlap: skip
  jitter: 1m
  job:
    kind: shell.run
    project: acme/web
    priority: high
    retry: { maxAttempts: 5 }
    payload: { argv: [make, nightly], env: { A: "1" } }
`;

const hookSecret = `whsec_${Buffer.alloc(24, 7).toString("base64")}`;

let muster: TestServer;
const home = makeDirectory();
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(async () => {
  await muster?.close();
  home.remove();
});

/** The command line of an org of its own, in a directory of its own. */
async function tenant(name: string) {
  const { text: key } = await muster.client(OrgService).createOrg({ name });
  const cwd = join(home.path, name);
  mkdirSync(cwd);
  const env = {
    MUSTER_ADDRESS: muster.server.apiAddress,
    MUSTER_API_KEY: key,
    SECRET_TITLE: "from outside",
    HOOK_SECRET: hookSecret,
  };
  const run = (...argv: string[]) =>
    runCli(argv, { cwd, env: { ...env, XDG_STATE_HOME: join(cwd, "state") } });
  const write = (file: string, text: string) => {
    mkdirSync(join(cwd, file, ".."), { recursive: true });
    writeFileSync(join(cwd, file), text);
  };
  return { run, write, cwd };
}

describe("muster apply", () => {
  test("makes what files say, and the second time nothing; diff and export agree", async () => {
    const { run, write } = await tenant("twice");
    write("muster.yaml", whole);
    const plan = await run("diff", "-f", "muster.yaml", "--exit-code");
    expect([plan.stderr, plan.exitCode]).toEqual([expect.stringContaining("7 to create"), 11]);
    // Its project is of the same file.
    expect(plan.stdout).toContain("+ schedule nightly\n    checked when it is made:");
    const first = await run("apply", "-f", "muster.yaml");
    expect([first.stderr, first.exitCode]).toEqual([expect.stringContaining("7 create"), 0]);
    expect(first.stdout.split("\n")).toContain("schedule\tnightly\tcreated");
    const again = await run("apply", "-f", "muster.yaml");
    expect(again).toMatchObject({ exitCode: 0, stderr: "Everything is as it should be.\n" });
    expect(again.stdout).not.toMatch(/\t(created|changed)$/m);
    expect(await run("diff", "-f", "muster.yaml", "--exit-code")).toMatchObject({ exitCode: 0, stdout: "" });

    const { stdout: exported } = await run("export");
    expect(exported).not.toContain(hookSecret);
    const other = await tenant("copy");
    // Secrets are not exported: a channel gets one of its own.
    other.write("all.yaml", exported);
    expect(await other.run("apply", "-f", "all.yaml")).toMatchObject({ exitCode: 0 });
    expect((await other.run("export")).stdout).toBe(exported);
    expect((await other.run("apply", "-f", "all.yaml")).stderr).toBe("Everything is as it should be.\n");
  });

  test("changes what is different, and says what it was", async () => {
    const { run, write } = await tenant("changes");
    write("muster.d/all.yaml", whole);
    await run("apply", "-f", "muster.d");
    write("muster.d/all.yaml", whole.replace("running: 20", "running: 30").replace("30 2 *", "15 3 *"));
    const { stdout } = await run("diff", "-f", "muster.d");
    expect(stdout).toBe(
      '~ queue renders\n    running: 20 → 30\n~ schedule nightly\n    cron: "30 2 * * *" → "15 3 * * *"\n',
    );
    const json = JSON.parse((await run("diff", "-f", "muster.d", "-o", "json")).stdout);
    expect(json.changes.find(({ kind }: { kind: string }) => kind === "queue")).toEqual({
      kind: "queue",
      name: "renders",
      action: "change",
      place: "muster.d/all.yaml:5:1",
      fields: [{ path: "running", before: 20, after: 30 }],
    });
    expect(await run("apply", "-f", "muster.d", "--dry-run")).toMatchObject({ exitCode: 0, stdout });
    expect((await run("apply", "-f", "muster.d")).stdout).toContain("queue\trenders\tchanged");
    expect((await run("diff", "-f", "muster.d")).stdout).toBe("");
  });

  test("removes with --prune what an earlier apply of the same files made, and nothing else", async () => {
    const { run, write } = await tenant("prune");
    await run("project", "create", "by/hand");
    write("muster.yaml", whole);
    await run("apply", "-f", "muster.yaml");
    const [project = "", queue = ""] = whole.split("---\n");
    write("muster.yaml", `${project}---\n${queue}`);
    // Without --prune they stay, and are remembered.
    await run("apply", "-f", "muster.yaml");
    const plan = await run("apply", "-f", "muster.yaml", "--prune", "--dry-run");
    expect(plan.stdout).toBe(
      "- schedule nightly\n- template greet\n- alert dead-jobs\n- channel ops\n- pool acme-api\n",
    );
    const asked = await run("apply", "-f", "muster.yaml", "--prune", "--no-input");
    expect(asked).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--prune --yes") });
    expect(await run("apply", "-f", "muster.yaml", "--prune", "--yes")).toMatchObject({ exitCode: 0 });
    const left = (await run("export", "-o", "name")).stdout;
    expect(left).not.toMatch(/schedule|template|pool/);
    expect(left).toMatch(/by\/hand[\s\S]*renders|renders[\s\S]*by\/hand/);
  });

  test("goes on where one fails, and exits with 12", async () => {
    const { run, write } = await tenant("part");
    // It names something that the server can only judge when the rest of the file is there.
    write(
      "muster.yaml",
      `kind: channel
name: ops
spec: { webhook: { url: "https://hooks.example.com/muster" } }
---
kind: alert
name: late
spec: { condition: job_dead, threshold: 3, window: 10m, channels: [ops-at-night] }
---
kind: template
name: fine
spec: { job: { kind: a } }
`,
    );
    const ran = await run("apply", "-f", "muster.yaml");
    expect(ran).toMatchObject({ exitCode: 12, stdout: "channel\tops\tcreated\ntemplate\tfine\tcreated\n" });
    expect(ran.stderr).toContain("muster.yaml:7:68: channels[0]: names no channel of the org");
  });

  test("takes secrets from the environment, and says which is not there", async () => {
    const { run, write } = await tenant("secrets");
    const text = (name: string) =>
      `kind: template\nname: t\nspec:\n  job: { kind: a, title: !env ${name} }\n`;
    write("t.yaml", text("SECRET_TITLE"));
    expect(await run("apply", "-f", "t.yaml")).toMatchObject({ exitCode: 0 });
    expect((await run("template", "get", "t", "-o", "json")).stdout).toContain("from outside");
    write("t.yaml", text("NOT_SET"));
    expect(await run("apply", "-f", "t.yaml")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('t.yaml:4:31: the variable "NOT_SET" is not set'),
    });
  });

  test("the schema in docs is the one of the messages", async () => {
    const path = fileURLToPath(new URL("../../../docs/muster.schema.json", import.meta.url));
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(
      JSON.parse(JSON.stringify(documentsSchema(resources))),
    );
    const { stdout } = await runCli(["apply", "--schema"]);
    expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(path, "utf8")));
  });
});

describe("a file for apply that is wrong", () => {
  const schedule = (spec: string) => `kind: schedule\nname: s\nspec:\n${spec}`;
  test.each([
    ["a tab", schedule("  job:\n\tkind: a\n"), "bad.yaml:5:1: is indented with a tab"],
    [
      "an unknown field",
      schedule("  cron: '@daily'\n  zonne: UTC\n"),
      "bad.yaml:5:3: spec.zonne: unknown field",
    ],
    ["its meaning", schedule("  zonne: UTC\n"), "did you mean zone?"],
    ["a bad cron", schedule("  job: { kind: a }\n  cron: 30 2 * *\n"), "bad.yaml:5:9: cron:"],
    [
      "an unknown zone",
      schedule("  cron: '@daily'\n  job: { kind: a }\n  zone: Mars/Base\n"),
      "bad.yaml:6:9: zone:",
    ],
    [
      "a field of the server",
      schedule("  nextFireTime: 2026-01-01T00:00:00Z\n"),
      'unknown field "nextFireTime"',
    ],
    [
      "a wrong word",
      schedule("  overlap: skp\n"),
      'bad.yaml:4:12: spec.overlap: must not be "skp"; did you mean skip?',
    ],
    [
      "a wrong type",
      schedule("  job: { kind: 7 }\n"),
      "bad.yaml:4:16: spec.job.kind: must be text, not 7; quote it",
    ],
    [
      "an unknown kind",
      "kind: scedule\nname: s\n",
      'bad.yaml:1:7: kind: there is no kind "scedule"; did you mean schedule?',
    ],
    ["a skill without its document", "kind: skill\nname: s\n", "bad.yaml:1:1: body: must not be empty"],
    ["no kind", "name: s\n", "bad.yaml:1:1: needs a kind"],
    [
      "an unknown key",
      "kind: queue\nname: q\nspecs: {}\n",
      'bad.yaml:3:1: specs: unknown field "specs"; did you mean spec?',
    ],
    [
      "the same twice",
      "kind: queue\nname: q\n---\nkind: queue\nname: q\n",
      "bad.yaml:4:1: the queue q is at bad.yaml:1:1 already",
    ],
    ["a strange tag", "kind: !!js/function x\nname: q\n", "there are only !env NAME and !file PATH"],
    ["no YAML", "kind: [\n", "bad.yaml:2:1: is not YAML"],
    [
      "a bomb",
      `a: &a [x]\n${"bcdefghij"
        .split("")
        .map((n, i) => `${n}: &${n} [${`*${"abcdefghi"[i]},`.repeat(9)}]`)
        .join("\n")}\n`,
      "alias",
    ],
  ])("%s is named, and nothing is changed", async (name, text, words) => {
    const { run, write } = await tenant(`bad-${name.replaceAll(" ", "-").toLowerCase()}`);
    write("bad.yaml", text);
    write("good.yaml", "kind: project\nname: acme/never\n");
    const ran = await run("apply", "-f", "good.yaml", "-f", "bad.yaml");
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(words);
    expect((await run("project", "list", "-o", "name")).stdout).toBe("");
  });

  test("has to say something", async () => {
    const { run, write } = await tenant("nothing");
    write("empty.yaml", "# nothing\n---\n");
    expect(await run("apply", "-f", "empty.yaml")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("hold no documents"),
    });
    expect(await run("apply")).toMatchObject({ exitCode: 2 });
    expect(await run("export", "scedule")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("Did you mean schedule?"),
    });
  });

  test.each([["apply", "--yes"], ["apply", "--dry-run"], ["diff"]])(
    "has the limits of queues and projects judged before anything is changed: %s %s",
    async (...verb) => {
      const { run, write } = await tenant(`limits${verb.join("-")}`);
      write(
        "bad.yaml",
        `kind: channel
name: ops
spec: { webhook: { url: "https://hooks.example.com/muster" } }
---
kind: queue
name: q1
spec: { running: -4, startRate: { jobs: 0, per: 25h } }
---
kind: pool
name: p1
spec: { running: 0 }
---
kind: kind
name: K 1
spec: { startRate: { jobs: 2000000 } }
---
kind: project
name: acme web
spec: { maxOpenPrs: -5, repository: web }
`,
      );
      const [name = "", ...flags] = verb;
      const ran = await run(name, "-f", "bad.yaml", ...flags);
      expect(ran).toMatchObject({ exitCode: 2, stdout: "" });
      const told = ran.stderr.split("\n").filter((line) => line.includes("bad.yaml:"));
      expect(told.map((line) => line.slice(line.indexOf("bad.yaml:")))).toEqual([
        "bad.yaml:7:18: running: must be 1 to 1,000,000",
        "bad.yaml:7:41: startRate.jobs: must be 1 to 1,000,000",
        "bad.yaml:7:49: startRate.per: must be 1 s to 24 h",
        "bad.yaml:13:1: name: must have 1 to 100 characters of a-z 0-9 . _ -",
        "bad.yaml:15:28: startRate.jobs: must be 1 to 1,000,000",
        "bad.yaml:15:20: startRate.per: is required",
        "bad.yaml:11:18: running: must be 1 to 1,000,000; to let nothing start, pause it instead",
        "bad.yaml:17:1: name: must have 1 to 200 characters of a-z A-Z 0-9 . _ - /",
        "bad.yaml:19:21: maxOpenPrs: must be 1 to 10,000",
        "bad.yaml:19:37: repository: must have the form owner/name of a repository at GitHub",
      ]);
      expect((await run("export", "-o", "name")).stdout).toBe("");
    },
  );

  test("has all its problems told at once", async () => {
    const { run, write } = await tenant("all-at-once");
    write(
      "bad.yaml",
      `${schedule("  cron: x\n  job: { kind: a }\n")}---\nkind: template\nname: T T\nspec: { job: {} }\n`,
    );
    const { stderr } = await run("apply", "-f", "bad.yaml");
    expect(stderr).toContain("bad.yaml:4:9: cron:");
    expect(stderr).toContain("bad.yaml:7:1: name:");
    expect(stderr).toContain("job.kind: is required");
  });
});

test("an org's files say nothing of another org", async () => {
  const { run } = await tenant("empty");
  await muster.client(ProjectService).putProject({ project: { name: "ours/one" } });
  const { schedules } = await muster.client(ScheduleService).listSchedules({});
  expect(schedules).toEqual([]);
  expect((await run("export")).stdout).toBe("");
  rmSync(join(home.path, "empty"), { recursive: true, force: true });
});
