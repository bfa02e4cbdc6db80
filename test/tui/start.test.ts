import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("../../tui/bin/muster.js", import.meta.url));

// Prints the modules that were loaded, on stderr, at the end.
const counter = `data:text/javascript,
import { registerHooks } from "node:module";
const urls = new Set();
registerHooks({ load(url, context, next) { urls.add(url); return next(url, context); } });
process.on("exit", () => process.stderr.write([...urls].join("\\n")));`;

async function modulesOf(...argv: string[]): Promise<string[]> {
  const env = { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", MUSTER_ADDRESS: "http://127.0.0.1:1" };
  const run = promisify(execFile)(process.execPath, ["--import", counter, program, ...argv], { env });
  const { stderr } = await run.catch((error: unknown) => Object(error));
  return String(stderr)
    .split("\n")
    .filter((line) => line.startsWith("file:"));
}

test("help loads the program and the parser of its words, nothing else", async () => {
  for (const argv of [["--help"], ["--version"]]) {
    const modules = await modulesOf(...argv);
    expect(modules.filter((url) => /\/node_modules\/(?!commander\/)/.test(url))).toEqual([]);
    expect(modules.length).toBeLessThan(40);
  }
});

test.each(["batch", "job", "worker"])(
  "%s list loads its own noun alone, and neither YAML nor the console",
  async (noun) => {
    const modules = await modulesOf(noun, "list");
    const others = ["job", "worker", "dev", "server", "project"].filter((one) => one !== noun);
    expect(modules.filter((url) => others.some((one) => url.endsWith(`/commands/${one}.js`)))).toEqual([]);
    expect(modules.filter((url) => /\/node_modules\/(yaml|ink|react|zod|drizzle-orm)\//.test(url))).toEqual(
      [],
    );
    expect(modules.filter((url) => /\/(server|worker)\/dist\//.test(url))).toEqual([]);
  },
);
