import {
  type ExplainJobResponse,
  ExplainJobResponseSchema,
  ExplainService,
  type Gate,
} from "@muster/client/v1/explain_service";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Look, showLook } from "../output/states.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";

const anId = "job_01jd9y3f4k8qkx2m0000000000";

/** Workers that are shown unless all are asked for. */
const workersShown = 20;

interface ExplainOptions {
  readonly externalId?: string;
  readonly all?: boolean;
}

/** Registers `muster job explain`. */
export function registerJobExplain(job: MusterCommand, cli: Cli): void {
  job
    .command("explain [job]")
    .description(
      "Why is a job not running? What it must pass, why each worker does not take it, and what would release it.",
    )
    .examples(
      `muster job explain ${anId}`,
      "muster job explain --external-id shot-0412 --all",
      `muster job explain ${anId} --json | jq -r '.releases[]'`,
    )
    .option("--external-id <id>", "the job with this id of yours")
    .option("--all", `every worker, not only the ${workersShown} nearest`)
    .action(
      cli.action(async (call, jobId: string | undefined, options: ExplainOptions) => {
        const externalId = options.externalId ?? "";
        if ((jobId === undefined) === (externalId === "")) {
          throw usageError("give the id of the job, or --external-id", `Like: muster job explain ${anId}`);
        }
        const response = await call
          .client(ExplainService)
          .explainJob({ jobId: jobId ?? "", externalId }, call.once());
        call.output.print({
          schema: ExplainJobResponseSchema,
          message: response,
          text: () => explanation(response, call.output, call.surroundings.now(), options.all === true),
          names: () => [response.job?.jobId ?? ""],
        });
        return exitCodes.done;
      }),
    );
}

/** What would help, a line each, under its heading; nothing when there is nothing. */
export function numbered(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return ["", title, ...lines.map((line, index) => `  ${index + 1}. ${sanitize(line)}`)];
}

function explanation(found: ExplainJobResponse, output: Output, nowMs: number, isAll: boolean): string[] {
  const { workers, jobsAhead } = found;
  const shown = isAll ? workers : workers.slice(0, workersShown);
  const facts: [string, Cell | undefined][] = [
    ["ahead of it", jobsAhead === 0 ? undefined : showJobs(jobsAhead)],
    ["starts", output.timeAndAge(found.estimatedStartTime, nowMs)],
    ["workers", countsOf(found.workerCounts)],
  ];
  return [
    output.paint("bold", sanitize(found.summary)),
    "",
    ...gateLines(found.gates, output),
    ...spaced(layFacts(facts, output.layout)),
    ...spaced(shown.length === 0 ? [] : workerTable(shown, output)),
    ...(shown.length < workers.length ? [`and ${showCount(workers.length - shown.length)} more: --all`] : []),
    ...numbered("What would release it:", found.releases),
  ];
}

const openLook: Look = { word: "", glyph: "✓", ascii: "+", style: "green" };
const closedLook: Look = { word: "", glyph: "✗", ascii: "x", style: "red" };

// No table: what a gate says is never cut.
function gateLines(gates: readonly Gate[], { glyphs, paint }: Output): string[] {
  const width = Math.max(0, ...gates.map(({ name }) => sanitize(name).length));
  return gates.map(({ name, open, detail }) => {
    const sign = showLook(open ? openLook : closedLook, glyphs, (_style, text) => text).trim();
    const head = paint(open ? openLook.style : closedLook.style, `${sign} ${sanitize(name).padEnd(width)}`);
    return `${head}  ${sanitize(detail)}`;
  });
}

function workerTable(workers: ExplainJobResponse["workers"], output: Output): string[] {
  const columns = [{ title: "WORKER" }, { title: "REASON" }, { title: "WHY" }] as const;
  const rows = workers.map(({ workerName, qualifies, reason, detail }): Cell[] => [
    workerName,
    qualifies ? { text: "qualifies", style: "green" } : reason,
    detail,
  ]);
  return layTable(columns, rows, output.layout);
}

// Those that could run it first.
function countsOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .sort(
      ([a, ofA], [b, ofB]) =>
        Number(b === "qualifies") - Number(a === "qualifies") || ofB - ofA || (a < b ? -1 : 1),
    )
    .map(([reason, count]) => `${showCount(count)} ${reason}`)
    .join(", ");
}

function showJobs(count: number): string {
  return `${showCount(count)} ready job${count === 1 ? "" : "s"}`;
}

function spaced(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", ...lines];
}
