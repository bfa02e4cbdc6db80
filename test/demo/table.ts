import type { FileList } from "./inputs.ts";
import { coordinatorRuntimeFlags, targetPeakBytes } from "./settings.ts";
import type { Kill } from "./steps.ts";
import { percent, type Tally, type Verdict } from "./verify.ts";

/** What the table at the end tells. */
export interface Report {
  readonly verdict: Verdict;
  readonly source: FileList["source"];
  readonly kill: Kill;
  /** Processes of the cancelled job that are gone. */
  readonly cancelledProcesses: number;
  /** Null where the system does not say. */
  readonly peakBytes: number | null;
  /** From the submit to the end of the last job. */
  readonly workSeconds: number;
}

/** The table, a line an element. */
export function tableLines(report: Report, seconds: number): string[] {
  const { verdict, kill } = report;
  const { tally } = verdict;
  const source = report.source === "git" ? "tracked files" : "files (no checkout: all that are here)";
  const rate = Math.round(tally.jobs / report.workSeconds);
  const rows: [string, string, string][] = [
    ["jobs", String(tally.jobs), `one for each of the ${tally.jobs - 2} ${source}, and two more`],
    ["succeeded", String(tally.succeeded), `in ${report.workSeconds.toFixed(1)} s, ${rate} a second`],
    ["verified", String(tally.verified), "SHA-256, lines and gzip size equal our own"],
    [
      "high priority",
      percent(verdict.startedAfterHigh),
      "of the others started with or after the last of them",
    ],
    ["retried", String(tally.retried), "failed at first, then succeeded"],
    ["dead", String(tally.dead), "the poison job, after its last attempt"],
    [
      "cancelled",
      String(tally.cancelled),
      `while it ran; its ${report.cancelledProcesses} processes are gone`,
    ],
    ["killed", kill.workerName, `process ${kill.pid}, kill -9 while it ran ${kill.heldJobs} jobs`],
    ["reassigned", String(tally.reassigned), "lost with that worker, run again by another"],
    ["peak memory", ...memory(report.peakBytes)],
    ["whole run", `${seconds.toFixed(1)} s`, "from start to nothing left behind"],
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const [nameWidth = 0, valueWidth = 0] = widths;
  return rows.map(
    ([name, value, note]) => `  ${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)}  ${note}`,
  );
}

/** The line that `--json` ends with. */
export function jsonLine(tally: Tally, seconds: number): string {
  const { jobs, succeeded, retried, dead, cancelled, reassigned, verified } = tally;
  const rounded = Math.round(seconds * 10) / 10;
  return JSON.stringify({
    jobs,
    succeeded,
    retried,
    dead,
    cancelled,
    reassigned,
    verified,
    seconds: rounded,
  });
}

function memory(bytes: number | null): [string, string] {
  if (bytes === null) return ["-", "of the coordinator: this system does not say"];
  const mib = (value: number) => `${Math.round(value / 1024 / 1024)} MiB`;
  const isMet = bytes <= targetPeakBytes ? "within" : "above";
  const flags = coordinatorRuntimeFlags.join(" ");
  return [mib(bytes), `of the coordinator (node ${flags}), ${isMet} its ${mib(targetPeakBytes)}`];
}
