import { chmodSync, mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Child } from "./child.ts";
import { killEverything, stopAll } from "./cluster.ts";
import { DemoFailure, Interrupted, messageOf } from "./failure.ts";
import { hardLimitMs, workLimitMs } from "./settings.ts";
import { playStory } from "./story.ts";
import { jsonLine, type Report, tableLines } from "./table.ts";
import { createView } from "./view.ts";

/*
 * `npm run demo`, `npm run demo -- --json`: the main job of Muster, end to end, on the files of this repository.
 * Exit codes: 0 all is right; 1 something is not; 2 wrong arguments; 129, 130, 143 stopped by a signal.
 */

const usage = `Usage: npm run demo [-- --json]

Starts a coordinator with a temporary database and three workers, counts every tracked file of this
repository as a job, cancels a job, kills a worker, and checks everything that came of it.

  --json   end with one line of counts
`;

const shownProblems = 20;
const shownLogLines = 15;

process.exit(await main());

async function main(): Promise<number> {
  const args = readArguments();
  if (typeof args === "number") return args;
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  const print = (text: string) => process.stdout.write(text);
  let total = 0;
  const isTerminal = process.stdout.isTTY && process.env["TERM"] !== "dumb";
  // Some terminals say that they have no columns.
  const screen = { write: print, columns: isTerminal ? process.stdout.columns || 80 : undefined };
  const view = createView(screen, { total: () => total, startedMs, nowMs: () => performance.now() });

  // Postgres runs as another account when we are root: its folder must let that account through.
  // Synchronous, up to where signals are listened to: a signal in between would leave it behind.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "muster-demo-")));
  chmodSync(folder, 0o755);
  const children: Child[] = [];
  const ending = endingOf(async () => killEverything(folder, children));
  const story = playStory({
    root: fileURLToPath(new URL("../..", import.meta.url)),
    folder,
    children,
    view,
    onPlanned: (jobs) => {
      total = jobs;
    },
    signal: ending.signal,
  });
  let report: Report | undefined;
  let cause: unknown;
  try {
    report = await orAborted(story, ending.signal);
  } catch (error) {
    cause = ending.signal.aborted ? ending.signal.reason : error;
  }
  view.note("stopping everything");
  view.end();
  const { unclean, left } = await stopAll(folder, children, story);
  ending.end();
  const stopped: unknown = ending.signal.reason;
  if (stopped instanceof Interrupted) {
    process.stderr.write(
      `${stopped.message}; ${left.length === 0 ? "nothing is left behind" : left.join("; ")}\n`,
    );
    return stopped.exitCode;
  }

  const tookSeconds = seconds();
  const problems = [...problemsOf(cause), ...(report?.verdict.problems ?? []), ...unclean, ...left];
  if (report !== undefined) print(`\n${tableLines(report, tookSeconds).join("\n")}\n\n`);
  if (problems.length > 0) process.stderr.write(`${failureText(problems, children)}\n`);
  else print("Everything came out right, and nothing is left behind.\n");
  if (args.isJson && report !== undefined) print(`${jsonLine(report.verdict.tally, tookSeconds)}\n`);
  return problems.length === 0 ? 0 : 1;
}

function readArguments(): { readonly isJson: boolean } | number {
  try {
    const { values } = parseArgs({
      options: { json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help !== true) return { isJson: values.json === true };
    process.stdout.write(usage);
    return 0;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n\n${usage}`);
    return 2;
  }
}

/**
 * What ends the demo early: a signal, its time, or a reader of its output that went away. The first signal stops
 * in order; a second one, and the last of the two minutes, kill everything.
 */
function endingOf(killNow: () => Promise<void>) {
  const ending = new AbortController();
  const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
  const killAndExit = (code: number) => void killNow().finally(() => process.exit(code));
  for (const [name, code] of Object.entries(exitCodes)) {
    process.on(name, () => {
      if (ending.signal.aborted) killAndExit(code);
      else ending.abort(new Interrupted(name, code));
    });
  }
  process.stdout.on("error", () => ending.abort(new Interrupted("a closed output", 1)));
  const late = setTimeout(() => {
    ending.abort(new DemoFailure([`it took longer than ${workLimitMs / 1000} s`]));
  }, workLimitMs);
  const tooLate = setTimeout(() => {
    process.stderr.write(`the demo did not end within ${hardLimitMs / 1000} s and was killed\n`);
    killAndExit(1);
  }, hardLimitMs);
  return {
    signal: ending.signal,
    end() {
      clearTimeout(late);
      clearTimeout(tooLate);
    },
  };
}

async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return await Promise.race([promise, aborted]);
}

function problemsOf(cause: unknown): readonly string[] {
  if (cause === undefined) return [];
  return cause instanceof DemoFailure ? cause.problems : [messageOf(cause)];
}

function failureText(problems: readonly string[], children: readonly Child[]): string {
  const shown = problems.slice(0, shownProblems).map((problem) => `  - ${problem}`);
  const more = problems.length - shown.length;
  const logs = children.flatMap((child) => [
    `Last lines of ${child.name}:`,
    ...child.lastLines(shownLogLines).map((line) => `  | ${line}`),
  ]);
  return [
    "The demo did not come out right:",
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
    ...logs,
  ].join("\n");
}
