import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AlertService } from "@muster/client/v1/alert_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { makeDirectory, runCli } from "../run-cli.ts";

let muster: TestServer;
let folder: ReturnType<typeof makeDirectory>;
beforeAll(async () => {
  muster = await startTestServer({ outboundAllow: ["127.0.0.1"] });
});
afterAll(() => muster?.close());
beforeEach(() => {
  folder = makeDirectory();
});
afterEach(() => folder.remove());

/** What an editor does at each time that it is opened: replaces a text, or calls a method, or leaves all as it is. */
type Turn = { readonly from: string | RegExp; readonly to: string } | { readonly pause: string } | "leave";

// Keeps what it was shown in seen-1, seen-2, ...
const editorProgram = `
import { existsSync, readFileSync, writeFileSync } from "node:fs";
const [folder, path] = [process.env.EDIT_FOLDER, process.argv[2]];
let at = 1;
while (existsSync(folder + "/seen-" + at)) at += 1;
const text = readFileSync(path, "utf8");
writeFileSync(folder + "/seen-" + at, text);
const turn = JSON.parse(readFileSync(folder + "/turns.json", "utf8"))[at - 1];
if (turn?.pause) {
  await fetch(process.env.MUSTER_ADDRESS + "/muster.v1.ScheduleService/PauseSchedule", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer " + process.env.MUSTER_API_KEY },
    body: JSON.stringify({ name: turn.pause }),
  }).then((answer) => { if (!answer.ok) process.exit(3); });
  writeFileSync(path, text.replace("cron: 0 1 * * *", "cron: 0 4 * * *"));
} else if (turn?.from) writeFileSync(path, text.replace(new RegExp(turn.from), turn.to));
`;

function run(argv: readonly string[], typed?: string, turns: readonly Turn[] = []) {
  writeFileSync(join(folder.path, "editor.mjs"), editorProgram);
  const plain = turns.map((turn) =>
    typeof turn === "object" && "from" in turn
      ? { ...turn, from: typeof turn.from === "string" ? turn.from : turn.from.source }
      : turn,
  );
  writeFileSync(join(folder.path, "turns.json"), JSON.stringify(plain));
  return runCli(argv, {
    cwd: folder.path,
    env: {
      MUSTER_ADDRESS: muster.server.apiAddress,
      MUSTER_API_KEY: muster.key,
      EDIT_FOLDER: folder.path,
      EDITOR: `${process.execPath} editor.mjs`.replace("editor.mjs", join(folder.path, "editor.mjs")),
    },
    ...(typed === undefined ? {} : { typed, terminal: { columns: 100, rows: 30 } }),
  });
}

const seen = (at: number): string => readFileSync(join(folder.path, `seen-${at}`), "utf8");
const schedule = async (name: string) =>
  (await muster.client(ScheduleService).getSchedule({ name })).schedule;
const make = (name: string) => run(["schedule", "create", name, "0 1 * * *", "report.build"]);

describe("create -f", () => {
  test("makes what files describe, all of them or none", async () => {
    const good = (name: string) =>
      `kind: schedule\nname: ${name}\nspec: { cron: "@daily", job: { kind: x } }\n`;
    writeFileSync(join(folder.path, "two.yaml"), `${good("one")}---\n${good("two")}`);
    const shown = await run(["schedule", "create", "-f", "two.yaml", "--dry-run"]);
    expect(shown.stdout).toBe("+ schedule one\n+ schedule two\n");
    expect(await run(["schedule", "create", "-f", "two.yaml"])).toMatchObject({
      ...{ exitCode: 0, stdout: "one\tcreated\ntwo\tcreated\n" },
    });
    expect(await schedule("two")).toMatchObject({ cron: "@daily" });
    writeFileSync(
      join(folder.path, "bad.yaml"),
      `${good("three")}---\n${good("one")}---\n${good("four").replace("@daily", "61 * * * *")}`,
    );
    const bad = await run(["schedule", "create", "-f", "bad.yaml"]);
    expect(bad.exitCode).toBe(2);
    expect(bad.stderr).toContain("bad.yaml:5:1: there is the schedule one already");
    expect(bad.stderr).toMatch(/bad\.yaml:11:\d+: cron/);
    expect((await run(["schedule", "list", "-o", "name"])).stdout).not.toContain("three");
  });

  test("refuses other things, and words beside the file; without one the words are needed", async () => {
    writeFileSync(join(folder.path, "q.yaml"), "kind: queue\nname: q\nspec: { running: 2 }\n");
    expect((await run(["alert", "create", "-f", "q.yaml"])).stderr).toContain("q.yaml:1:1: is a queue");
    expect((await run(["schedule", "create", "x", "-f", "q.yaml"])).stderr).toContain(
      "with -f the file says",
    );
    expect((await run(["alert", "create", "-f", "q.yaml", "--note", "x"])).stderr).toContain("with -f");
    expect((await run(["schedule", "create", "x", "@daily"])).stderr).toContain("argument 'kind'");
    expect((await run(["channel", "create", "x"])).stderr).toContain("argument 'type'");
  });
});

describe("edit in an editor", () => {
  test("shows what is different, asks, and saves", async () => {
    await make("asked");
    const saved = await run(["schedule", "edit", "asked"], "y\n", [
      { from: "0 1 \\* \\* \\*", to: "0 3 * * *" },
    ]);
    expect(saved.stdout).toContain('cron: "0 1 * * *" → "0 3 * * *"');
    expect(saved).toMatchObject({ exitCode: 0 });
    expect(await schedule("asked")).toMatchObject({ cron: "0 3 * * *", job: { kind: "report.build" } });
    const same = await run(["schedule", "edit", "asked"], "", ["leave"]);
    expect(same.stderr).toContain("Nothing was changed.");
  });

  test("opens again with what is wrong above the text, by its line", async () => {
    await make("twice");
    const turns = [
      { from: "0 1 \\* \\* \\*", to: "61 1 * * *" },
      { from: "61 1", to: "30 1" },
    ];
    expect(await run(["schedule", "edit", "twice"], "y\n", turns)).toMatchObject({ exitCode: 0 });
    const second = seen(2);
    expect(second).toContain("# It was not saved:");
    const line = Number(/# {3}line (\d+): cron/.exec(second)?.[1]);
    expect(second.split("\n")[line - 1]).toContain("cron: 61 1 * * *");
    expect(await schedule("twice")).toMatchObject({ cron: "30 1 * * *" });
  });

  test("does not overwrite what somebody changed meanwhile, and loses nothing", async () => {
    await make("raced");
    const ran = await run(["schedule", "edit", "raced"], "y\n", [{ pause: "raced" }, "leave"]);
    expect(seen(2)).toContain("somebody changed it meanwhile");
    expect(seen(2)).toContain("cron: 0 4 * * *");
    expect(ran.exitCode).toBe(2);
    const kept = /What you wrote is in (\S+)\./.exec(ran.stderr)?.[1] ?? "";
    expect(readFileSync(kept, "utf8")).toContain("cron: 0 4 * * *");
    expect(await schedule("raced")).toMatchObject({ cron: "0 1 * * *", paused: true });
  });

  test("keeps what was written when the answer is no, and renames nothing", async () => {
    await make("kept");
    const no = await run(["schedule", "edit", "kept"], "n\n", [{ from: "0 1 \\*", to: "0 5 *" }]);
    expect(no.exitCode).toBe(130);
    expect(existsSync(/What you wrote is in (\S+)\./.exec(no.stderr)?.[1] ?? "")).toBe(true);
    expect(await schedule("kept")).toMatchObject({ cron: "0 1 * * *" });
    folder.remove();
    folder = makeDirectory();
    const renamed = await run(["schedule", "edit", "kept"], "", [
      { from: "name: kept", to: "name: other" },
      "leave",
    ]);
    expect(seen(2)).toContain("its name stays kept");
    expect(renamed.exitCode).toBe(2);
  });

  test("is for rules and channels too; a secret stays that is not written", async () => {
    writeFileSync(join(folder.path, "url.txt"), "http://127.0.0.1:1/services/T/B/hidden-word\n");
    await run(["channel", "create", "chat", "slack", "--url-file", "url.txt"]);
    await run(["alert", "create", "dead", "--on", "job-dead", "--channel", "chat"]);
    const rule = await run(["alert", "edit", "dead"], "y\n", [{ from: "threshold: 1", to: "threshold: 7" }]);
    expect(rule.stdout).toContain("threshold: 1 → 7");
    const alerts = muster.client(AlertService);
    expect((await alerts.getAlertRule({ name: "dead" })).rule).toMatchObject({
      threshold: 7,
      channels: ["chat"],
    });
    folder.remove();
    folder = makeDirectory();
    const channel = await run(["channel", "edit", "chat"], "y\n", [
      { from: "(spec:[^]*)$", to: "$1  disabled: true\n" },
    ]);
    expect(channel).toMatchObject({ exitCode: 0 });
    expect(seen(1)).not.toContain("hidden-word");
    expect((await alerts.getAlertChannel({ name: "chat" })).channel).toMatchObject({
      disabled: true,
      secretHint: "word",
    });
  });

  test("needs somebody at a terminal", async () => {
    await make("alone");
    const alone = await run(["schedule", "edit", "alone"]);
    expect(alone).toMatchObject({ exitCode: 2 });
    expect(alone.stderr).toContain("Nothing is given");
  });
});
