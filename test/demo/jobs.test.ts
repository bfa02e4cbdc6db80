import { expect, test } from "vitest";
import { type PlannedJob, planJobs } from "./jobs.ts";
import { sampleFile, sampleFiles, samplePlaces } from "./samples.ts";

function payloadOf({ spec }: PlannedJob): { argv: string[]; cwd: string; env: Record<string, string> } {
  const content = spec.payload?.content;
  if (content?.case !== "data") throw new Error("the payload is no bytes");
  return JSON.parse(new TextDecoder().decode(content.value));
}

test("plans a job for each file", () => {
  const files = sampleFiles(60);
  const { batch } = planJobs(files, samplePlaces);
  const byPath = (a: string | undefined, b: string | undefined) => String(a).localeCompare(String(b));
  expect(batch.map((job) => job.file?.path).sort(byPath)).toEqual(
    files.map((file) => file.path).sort(byPath),
  );
});

test("puts the urgent jobs last in line, so that only their priority starts them first", () => {
  const { batch } = planJobs(sampleFiles(60), samplePlaces);
  const urgent = batch.map((job) => (job.spec.priority ?? 0) > 128);
  expect(urgent.indexOf(true)).toBe(60);
  expect(urgent.slice(60)).toEqual([true, true]);
});

test("has held jobs in the middle, and flaky ones throughout", () => {
  const roles = planJobs(sampleFiles(60), samplePlaces).batch.map((job) => job.role);
  expect(roles.flatMap((role, index) => (role === "held" ? [index] : []))).toEqual([24, 25, 26, 27, 28, 29]);
  expect(roles.flatMap((role, index) => (role === "flaky" ? [index] : []))).toEqual([11, 23, 35, 47, 59]);
});

test("hands a path over as an argument, never as part of a command", () => {
  const path = 'proto/$(touch x) "; rm -rf .proto';
  const { batch, poison, endless } = planJobs([...sampleFiles(60), sampleFile(path)], samplePlaces);
  const odd = batch.filter((job) => job.file?.path === path).map(payloadOf);
  expect(odd.map(({ argv }) => argv.at(-1))).toEqual([path]);
  for (const job of [...batch, poison, endless]) {
    const { argv, cwd, env } = payloadOf(job);
    expect(argv.slice(0, 2)).toEqual(["sh", "-c"]);
    expect(argv[2]).not.toContain(".ts");
    expect(argv[2]).not.toContain(path);
    expect(cwd).toBe("/demo/inputs");
    expect(Object.values(env)).toEqual(["muster-demo-x"]);
  }
});

test("makes a title of any path", () => {
  const { batch } = planJobs([sampleFile(`proto/\n\x1b[2J${"x".repeat(300)}`)], samplePlaces);
  expect(batch[0]?.spec.title).toBe("x".repeat(200));
  expect(planJobs([sampleFile("proto/\n\x1b")], samplePlaces).batch[0]?.spec.title).toBe("proto/??");
});
