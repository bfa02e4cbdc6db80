import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { exitCodeMeanings, exitCodes } from "../../tui/exit-codes.ts";
import { makeGlobalOptions } from "../../tui/global-options.ts";
import { helpTopics } from "../../tui/help/topics.ts";
import { nouns } from "../../tui/nouns.ts";
import { makeDirectory, runCli } from "./run-cli.ts";

describe("the command line", () => {
  test("without arguments shows the way in", async () => {
    const ran = await runCli([]);
    expect(ran.exitCode).toBe(0);
    expect(ran.stdout).toMatch(/^Muster: .*\n\nExamples:\n {2}muster dev/);
    expect(ran.stdout).toContain("Nothing is running yet? Start with: muster dev");
  });

  test.each([
    [["jbo"], "unknown command 'jbo' (USAGE)", "Did you mean job?"],
    [["job", "lsit"], "unknown command 'lsit'", "Did you mean list?"],
    [["job", "list", "--jsn"], "unknown option '--jsn'", "Did you mean --json?"],
    [["job", "list", "extra"], "too many arguments", "--help"],
    [["job", "wait"], "missing required argument 'job'", "--help"],
    [["job", "list", "-o", "jsno"], "has no format", "Did you mean json?"],
    [["job", "list", "-o", "name", "-o", "txt"], "has no format", "Did you mean text?"],
    [["help", "exit-code"], "no command or topic", "Did you mean exit-codes?"],
    [["top", "--watch"], "--watch streams data", "-o jsonl"],
    [["worker", "run", "--once", "--continuous"], "contradict each other", "Give one"],
    [["worker", "run", "--transport", "pol"], "--transport has no value", "Did you mean poll?"],
    [["worker", "run", "--slots", "0"], "whole number from 1 to 10000", "--help"],
    [["dev", "--ephemeral", "--data", "x"], "contradict each other", "Give one"],
    [["status", "-o", "name"], "cannot reach", "muster dev"],
  ])("answers %j with an error, a way out, and nothing on stdout", async (argv, message, way) => {
    const ran = await runCli(argv, { env: { MUSTER_ADDRESS: "http://127.0.0.1:1", MUSTER_WORKER_KEY: "k" } });
    expect(ran.exitCode).toBe(argv[0] === "status" ? 6 : 2);
    expect(ran.stdout).toBe("");
    expect(ran.stderr).toContain("error: ");
    expect(ran.stderr).toContain(message);
    expect(ran.stderr).toContain(way);
  });

  test("answers wrong usage in JSON when JSON is wanted, wherever that is said", async () => {
    for (const argv of [
      ["--json", "job", "lsit"],
      ["job", "list", "--nope", "-o", "json"],
      ["job", "list", "--nope", "--output=jsonl"],
    ]) {
      const ran = await runCli(argv);
      expect(ran.exitCode).toBe(2);
      expect(JSON.parse(ran.stderr)).toMatchObject({ error: { code: "invalid_argument", reason: "USAGE" } });
    }
    const words = await runCli(["job", "submit", "x", "--nope", "--", "--json"]);
    expect(words.stderr).toMatch(/^error: /);
  });

  test.each([
    ["MUSTER_OUTPUT", { MUSTER_OUTPUT: "json" }, ["job", "lsit"], true],
    ["MUSTER_OUTPUT of lines", { MUSTER_OUTPUT: "jsonl" }, ["status"], true],
    ["the configuration", {}, ["status"], true],
    ["-o name, which is stronger", { MUSTER_OUTPUT: "json" }, ["status", "-o", "none"], false],
    ["MUSTER_OUTPUT, which is stronger than the configuration", { MUSTER_OUTPUT: "text" }, ["status"], false],
  ])("answers errors in the format of %s", async (_, env, argv, isJson) => {
    const { path, remove } = makeDirectory();
    writeFileSync(join(path, ".muster.yaml"), "output: json\n");
    const ran = await runCli(argv, { env: { MUSTER_ADDRESS: "http://127.0.0.1:1", ...env }, cwd: path });
    expect(ran.exitCode).toBeGreaterThan(0);
    if (isJson) expect(JSON.parse(ran.stderr)).toMatchObject({ error: {} });
    else expect(ran.stderr).toMatch(/^error: /);
    remove();
  });

  test("takes the options of all commands at every level", async () => {
    for (const argv of [
      ["--json", "version"],
      ["version", "--json"],
      ["-o", "json", "version"],
      ["version", "-o", "json"],
    ]) {
      const ran = await runCli(argv);
      expect(JSON.parse(ran.stdout)).toEqual({ version: "0.1.0", nodeVersion: process.versions.node });
    }
  });

  test("names the coordinator that it could not reach, wherever its address was given", async () => {
    for (const argv of [
      ["status", "--address", "127.0.0.1:1"],
      ["--address", "http://127.0.0.1:1", "status"],
    ]) {
      const ran = await runCli(argv);
      expect(ran.exitCode).toBe(6);
      expect(ran.stderr).toContain("error: cannot reach http://127.0.0.1:1: ");
    }
  });

  test("says what a worker without a key needs", async () => {
    const ran = await runCli(["worker", "run"]);
    expect(ran.exitCode).toBe(4);
    expect(ran.stderr).toContain("muster worker create NAME --key-file FILE");
  });
});

describe("help", () => {
  test("starts with what a command does and with examples", async () => {
    const ran = await runCli(["job", "submit", "--help"]);
    expect(ran.exitCode).toBe(0);
    expect(ran.stdout).toMatch(
      /^Submit one job.*\n\nExamples:\n {2}muster job submit shell\.run -- make test\n/s,
    );
    expect((await runCli(["help", "job", "submit"])).stdout.trimEnd()).toBe(ran.stdout.trimEnd());
  });

  test("is there for every command, with an example where one can be given, within 100 columns", async () => {
    const seen: string[] = [];
    const walk = async (path: readonly string[]): Promise<void> => {
      const { stdout, exitCode } = await runCli([...path, "--help"]);
      expect(exitCode).toBe(0);
      const commands = [...stdout.matchAll(/^ {2}([a-z][a-z-]*)(?: [<[].*?[>\]])*(?: {2,}\S|$)/gm)].map(
        ([, name]) => name ?? "",
      );
      if (!/^Examples:$/m.test(stdout)) expect(stdout).toMatch(/^Commands:$/m);
      for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
      seen.push(path.join(" "));
      if (path.length > 1 || !/^(Commands|Run):$/m.test(stdout)) return;
      for (const name of commands) if (name !== "muster") await walk([...path, name]);
    };
    await walk([]);
    expect(seen).toEqual(
      expect.arrayContaining([
        "dev",
        "server check-config",
        "job submit",
        "worker run",
        "batch wait",
        "dlq discard",
        "queue pause",
        "kind set",
        "pool resume",
        "top",
        "proto export",
      ]),
    );
  });

  test("explains exit codes, states and environment", async () => {
    const codes = await runCli(["help", "exit-codes"]);
    for (const [code] of exitCodeMeanings) expect(codes.stdout).toMatch(new RegExp(`^ +${code} {2}\\S`, "m"));
    expect(exitCodeMeanings.map(([code]) => code)).toEqual(Object.values(exitCodes));
    const states = await runCli(["help", "states"], { env: { LANG: "C" } });
    expect(states.stdout).toMatch(/^ {2}> RUNNING {4}a worker executes it$/m);
    expect((await runCli(["help", "environment"])).stdout).toContain("MUSTER_API_KEY_FILE");
  });
});

describe("nouns", () => {
  test("are listed as their own help describes them", async () => {
    const all = nouns.flatMap(([, below]) => below);
    expect(new Set(all.flatMap(({ name, aliases = [] }) => [name, ...aliases])).size).toBe(
      all.length + all.flatMap(({ aliases = [] }) => aliases).length,
    );
    for (const { name, aliases = [], description } of all) {
      const own = await runCli([name, "--help"], { terminal: { columns: 400, rows: 50 } });
      const about = own.stdout.slice(0, own.stdout.indexOf("\n\n")).replaceAll("\n", " ");
      expect(about).toBe(description);
      for (const alias of aliases) expect((await runCli([alias, "--help"])).stdout).not.toBe("");
    }
  });

  test("have no verb without an example", async () => {
    for (const { name } of nouns.flatMap(([, below]) => below)) {
      const { stdout } = await runCli([name, "--help"]);
      const verbs = [
        ...(/^Commands:\n((?: .*\n)+)/m.exec(stdout)?.[1] ?? "").matchAll(/^ {2}([a-z][a-z-]*)/gm),
      ];
      for (const [, verb = ""] of verbs) {
        const help = (await runCli([name, verb, "--help"])).stdout;
        expect(help, `${name} ${verb}`).toMatch(/^[^\n]+(\n[^\n]+)*\n\n(Examples|Usage):\n?/);
        if (verb !== "help") expect(help, `${name} ${verb}`).toMatch(/\n(Examples|Commands):\n/);
      }
    }
  });
});

describe("topics", () => {
  test("are each one page of at most 110 columns, alone and in docs", async () => {
    const docs = await runCli(["docs"]);
    for (const topic of helpTopics.keys()) {
      const { stdout, exitCode } = await runCli(["help", topic]);
      expect(exitCode).toBe(0);
      for (const line of stdout.split("\n")) expect(line.length, line).toBeLessThanOrEqual(110);
      expect(docs.stdout).toContain(stdout);
      expect((await runCli(["docs", topic])).stdout).toBe(stdout);
    }
    expect(await runCli(["docs", "fliter"])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("filter?"),
    });
  });

  test("name every option of all commands and every variable that is read", async () => {
    const options = (await runCli(["help", "options"])).stdout;
    for (const { long } of makeGlobalOptions())
      if (long !== "--api-key") expect(options).toContain(String(long));
    const environment = (await runCli(["help", "environment"])).stdout;
    const read = tuiSources().flatMap((text) => [
      ...text.matchAll(/env\["(MUSTER_[A-Z_]+)"\]|"(MUSTER_[A-Z_]+)"/g),
    ]);
    for (const [, one, two] of read) {
      const name = one ?? two ?? "";
      // The last is between a daemon and itself.
      if (/^MUSTER_(ADMIN_KEY|DATABASE|ROLE|SECRET|ENVIRONMENT_FILE)/.test(name)) continue;
      expect(environment, name).toContain(name);
    }
  });
});

function tuiSources(): string[] {
  const root = fileURLToPath(new URL("../../tui", import.meta.url));
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !/(^|\/)(dist|node_modules)\//.test(path))
    .map((path) => readFileSync(join(root, path), "utf8"));
}

describe("a terminal of 20 by 5", () => {
  test("gets help, errors and tables", async () => {
    const terminal = { columns: 20, rows: 5 };
    for (const argv of [
      [],
      ["--help"],
      ["job", "submit", "--help"],
      ["help", "states"],
      ["config", "path"],
      ["rpc"],
    ]) {
      const ran = await runCli(argv, { terminal });
      expect(ran).toMatchObject({ exitCode: 0, stderr: "" });
      expect(ran.stdout.length).toBeGreaterThan(20);
    }
    expect((await runCli(["jbo"], { terminal })).stderr).toContain("Did you mean job?");
  });
});
