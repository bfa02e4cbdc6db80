import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Mutant } from "./mutants.ts";
import type { Tree } from "./tree.ts";

/** What a test came to. */
export interface TestResult {
  readonly isPassed: boolean;
  /** The first line of what failed. */
  readonly message: string;
}

/** Runs the detectors of some mutants in a tree, in one go; by the mutant's name. Fails when one did not run. */
export async function runDetectors(
  tree: Tree,
  mutants: readonly Mutant[],
): Promise<ReadonlyMap<string, TestResult>> {
  const report = join(tree.folder, "detectors.json");
  await rm(report, { force: true });
  const files = new Set(mutants.map(({ detector }) => detector.file));
  const titles = new Set(mutants.map(({ detector }) => escaped(detector.title)));
  const { output } = await tree.run(
    "vitest",
    "run",
    ...files,
    "-t",
    [...titles].join("|"),
    "--reporter=json",
    `--outputFile=${report}`,
  );
  const tests = await readReport(report).catch((cause: unknown) => {
    throw new Error(`the tests did not run:\n${output}`, { cause });
  });
  return new Map(
    mutants.map(({ name, detector }) => {
      const test = tests.find(
        ({ file, title }) => file.endsWith(detector.file) && title.startsWith(detector.title),
      );
      if (!test || !["passed", "failed"].includes(test.status)) {
        throw new Error(`"${detector.title}" of ${detector.file} did not run:\n${output}`);
      }
      return [name, { isPassed: test.status === "passed", message: test.message }];
    }),
  );
}

interface ReportedTest {
  readonly file: string;
  readonly title: string;
  readonly status: string;
  readonly message: string;
}

async function readReport(path: string): Promise<ReportedTest[]> {
  const report: unknown = JSON.parse(await readFile(path, "utf8"));
  return listAt(report, "testResults").flatMap((file) =>
    listAt(file, "assertionResults").map((test) => ({
      file: textAt(file, "name"),
      title: textAt(test, "title"),
      status: textAt(test, "status"),
      message: String(listAt(test, "failureMessages")[0] ?? "").split("\n")[0] ?? "",
    })),
  );
}

function listAt(value: unknown, name: string): unknown[] {
  const found = fieldAt(value, name);
  return Array.isArray(found) ? found : [];
}

function textAt(value: unknown, name: string): string {
  return String(fieldAt(value, name) ?? "");
}

function fieldAt(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
