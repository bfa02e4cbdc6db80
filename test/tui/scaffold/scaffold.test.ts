import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { exitCodes } from "../../../tui/exit-codes.ts";
import { kindNames, register } from "../../../tui/scaffold/kind.ts";
import { runCli } from "../run-cli.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../..", import.meta.url));
// Inside the tree, so that the packages are found.
const folder = join(root, "test", `.scaffold-${process.pid}`);

beforeAll(() => {
  mkdirSync(folder, { recursive: true });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("muster worker new", () => {
  test("writes a worker that type-checks, and whose test passes; kind new adds a kind that does too", async () => {
    const made = await runCli(["worker", "new", "resizer", "--kind", "image.resize"], { cwd: folder });
    expect(made).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("npm test") });
    const cwd = join(folder, "resizer");
    const added = await runCli(["kind", "new", "2d.crop_it"], { cwd });
    expect(added).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("kinds/2d-crop-it.ts") });
    expect(readFileSync(join(cwd, "handlers.ts"), "utf8")).toContain('"2d.crop_it": run2dCropIt,\n');
    await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", cwd]);
    const { stdout } = await run(process.execPath, ["--test", "--test-reporter", "tap"], {
      cwd,
      env: plainEnv(),
    });
    expect(stdout).toMatch(/^# pass 4$/m);
    expect(stdout).toMatch(/^# fail 0$/m);
    const readme = readFileSync(join(cwd, "README.md"), "utf8");
    const submit = /^muster job submit (.*)$/m.exec(readme)?.[1] ?? "";
    expect(submit).toBe(`image.resize --data '{"name":"Ada"}' --wait`);
    // Nobody listens there: what is asked for is understood, and not refused as a mistake.
    const asked = await runCli(["job", "submit", "image.resize", "--data", '{"name":"Ada"}', "--wait"], {
      env: { MUSTER_ADDRESS: "http://127.0.0.1:9", MUSTER_API_KEY: `mk_${"a".repeat(40)}` },
    });
    expect(asked.exitCode).toBe(exitCodes.unreachable);
    const handler = readFileSync(join(cwd, "kinds/image-resize.ts"), "utf8");
    expect(handler.split("\n").filter((line) => line !== "").length).toBeLessThanOrEqual(15);
  }, 120_000);

  test("refuses what is there, and a name or a kind that is none; nothing is written", async () => {
    const cwd = join(folder, "refused");
    mkdirSync(join(cwd, "w"), { recursive: true });
    writeFileSync(join(cwd, "w", "worker.ts"), "mine");
    const there = await runCli(["worker", "new", "w"], { cwd });
    expect(there).toMatchObject({ exitCode: 5, stderr: expect.stringContaining("worker.ts") });
    expect(readFileSync(join(cwd, "w", "worker.ts"), "utf8")).toBe("mine");
    expect(existsSync(join(cwd, "w", "package.json"))).toBe(false);
    expect(await runCli(["worker", "new", "../w"], { cwd })).toMatchObject({ exitCode: 2 });
    expect(await runCli(["worker", "new", "x", "--kind", "A b"], { cwd })).toMatchObject({ exitCode: 2 });
    expect(await runCli(["worker", "new", "x", "--dry-run"], { cwd })).toMatchObject({ exitCode: 0 });
    expect(existsSync(join(cwd, "x"))).toBe(false);
  });

  test("a kind that the worker has, or a directory without a worker, is refused", async () => {
    const cwd = join(folder, "kinds");
    mkdirSync(cwd);
    const none = await runCli(["kind", "new", "a.b"], { cwd });
    expect(none).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("muster worker new") });
    writeFileSync(join(cwd, "handlers.ts"), 'export const handlers = {\n  "a.b": runIt,\n};\n');
    expect(await runCli(["kind", "new", "a.b"], { cwd })).toMatchObject({ exitCode: 5 });
    expect(existsSync(join(cwd, "kinds"))).toBe(false);
  });
});

describe("a list of handlers", () => {
  const names = kindNames("a.b");
  if (names === null) throw new Error("a kind");

  test("takes a kind behind the others, also where the last has no comma", () => {
    const text = 'import { x } from "./x.ts";\n\nexport const handlers = {\n  x: x\n};\nrest();\n';
    expect(register(text, names)).toBe(
      'import { x } from "./x.ts";\nimport { runAB } from "./kinds/a-b.ts";\n\n' +
        'export const handlers = {\n  x: x,\n  "a.b": runAB,\n};\nrest();\n',
    );
  });

  test("is named when it is not there", () => {
    expect(register("export const other = {};\n", names)).toEqual({ problem: "no-list" });
  });
});

// Without what tells the test runner of Node that it runs inside of another.
function plainEnv(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...env } = process.env;
  return env;
}
