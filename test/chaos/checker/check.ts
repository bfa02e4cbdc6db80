import { checkHistory } from "./checker.ts";
import { describeVerdict } from "./report.ts";

// `node test/chaos/checker/check.ts FOLDER [--json]`: what a run of faults proves, and 1 when something is wrong.
const folder = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
if (folder === undefined) {
  console.error("Which run? Give the folder that holds its client-*.jsonl, attempts.jsonl and so on.");
  process.exit(2);
}
const startedMs = performance.now();
const verdict = await checkHistory(folder);
if (process.argv.includes("--json")) console.log(JSON.stringify(verdict));
else {
  console.log(describeVerdict(verdict));
  const memory = Math.round(process.resourceUsage().maxRSS / 1_024);
  console.log(
    `\nread and checked in ${((performance.now() - startedMs) / 1_000).toFixed(1)} s, ${memory} MiB`,
  );
}
process.exitCode = verdict.isRight ? 0 : 1;
