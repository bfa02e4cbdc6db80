import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controls } from "./controls.ts";

// `npm run test:security`: tries every control and prints a line each. Ends with 1 when one does not hold, or has
// neither a test nor a reason.
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly status: string;
      readonly title: string;
    }[];
  }[];
}

const root = new URL("../..", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "muster-security-"));
try {
  const file = join(folder, "report.json");
  const parameters = ["run", "test/security", "--reporter=json", `--outputFile=${file}`];
  spawnSync("vitest", parameters, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  const report: Report = JSON.parse(readFileSync(file, "utf8"));
  const tests = report.testResults.flatMap((result) => result.assertionResults);
  let isBroken = false;
  for (const { id, words, notTried, short } of controls) {
    const own = tests.filter(({ ancestorTitles }) =>
      ancestorTitles.some((title) => title.split(" ")[0] === id),
    );
    const failed = own.filter(({ status }) => status === "failed");
    const passed = own.filter(({ status }) => status === "passed");
    const isHeld = failed.length === 0 && passed.length > 0;
    isBroken ||= !isHeld && notTried === undefined;
    process.stdout.write(`${id.padEnd(4)} ${verdict().padEnd(10)} ${words}${explanation()}\n`);

    function verdict(): string {
      if (failed.length > 0) return "FAILED";
      if (isHeld) return "holds";
      return notTried === undefined ? "NO TEST" : "not tried";
    }
    function explanation(): string {
      if (failed.length > 0) return `: ${failed.map(({ title }) => title).join("; ")}`;
      const falls = short === undefined ? "" : `; short of the table: ${short}`;
      if (isHeld) return ` (${passed.length} ${passed.length === 1 ? "test" : "tests"})${falls}`;
      return notTried === undefined ? "" : `: ${notTried}`;
    }
  }
  process.exitCode = isBroken ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
