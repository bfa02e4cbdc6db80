import {
  AttentionCause,
  type AttentionItem,
  AttentionSeverity,
  ExplainService,
  ListAttentionResponseSchema,
} from "@muster/client/v1/explain_service";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { listOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import type { Style } from "../output/paint.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showAge, showCount, showCounted } from "../output/time.ts";

interface AttentionOptions {
  readonly cause?: readonly string[];
}

/** Registers `muster attention`. */
export function registerAttention(cli: Cli): void {
  cli.program
    .command("attention")
    .description("See what needs a person.")
    .command("list", { isDefault: true })
    .alias("ls")
    .description(
      "List what needs a person, the worst first: why, what it does to work, and what to do about it.",
    )
    .examples(
      "muster attention",
      "muster attention list --cause no-route,session-missing",
      "muster attention list --json | jq -r '.items[].command'",
    )
    .option("--cause <cause>", "only this cause; repeat or use commas for more", listOption)
    .action(
      cli.action(async (call, { cause = [] }: AttentionOptions) => {
        const causes = cause.map(readCause);
        const response = await call.client(ExplainService).listAttention({ causes }, call.once());
        const { items, truncated } = response;
        call.output.print({
          schema: ListAttentionResponseSchema,
          message: response,
          text: () =>
            call.output.isTty
              ? items.flatMap((item, index) => [
                  ...(index === 0 ? [] : [""]),
                  ...itemLines(item, call.output, call.surroundings.now()),
                ])
              : itemTable(items, call.output, call.surroundings.now()),
          names: () => items.map(({ attentionId }) => attentionId),
        });
        if (call.output.format === "text") {
          if (items.length === 0) call.output.note("Nothing needs attention.");
          else if (truncated)
            call.output.note(`Showing the worst ${showCount(items.length)}; there are more.`);
        }
        return exitCodes.done;
      }),
    );
}

const severityStyles: Readonly<Record<AttentionSeverity, Style>> = {
  [AttentionSeverity.UNSPECIFIED]: "dim",
  [AttentionSeverity.NOTICE]: "blue",
  [AttentionSeverity.WARNING]: "yellow",
  [AttentionSeverity.CRITICAL]: "red",
};

// For people every word counts: nothing is cut.
function itemLines(item: AttentionItem, { paint }: Output, nowMs: number): string[] {
  const jobs = item.jobs === 0 ? "" : `, ${showCounted(item.jobs, "job")}`;
  const head = `${paint(styleOf(item), severityWord(item))}  ${causeWord(item.cause)}  ${sanitize(item.target)}`;
  return [
    `${head}  ${paint("dim", `for ${showAge(item.since, nowMs)}${jobs}`)}`,
    `  ${sanitize(item.summary)}.`,
    `  ${paint("dim", "effect")}  ${sanitize(item.effect)}.`,
    `  ${paint("dim", "fix")}     ${sanitize(item.fix)}.`,
    ...(item.command === "" ? [] : [`  ${paint("dim", "run")}     ${sanitize(item.command)}`]),
  ];
}

function itemTable(items: readonly AttentionItem[], output: Output, nowMs: number): string[] {
  if (items.length === 0) return [];
  const columns = ["SEVERITY", "CAUSE", "TARGET", "SINCE", "JOBS", "SUMMARY", "FIX", "COMMAND"].map(
    (title) => ({
      title,
    }),
  );
  const rows = items.map((item): Cell[] => [
    severityWord(item),
    causeWord(item.cause),
    item.target,
    output.age(item.since, nowMs),
    String(item.jobs),
    item.summary,
    item.fix,
    item.command,
  ]);
  return layTable(columns, rows, output.layout);
}

function severityWord({ severity }: AttentionItem): string {
  return AttentionSeverity[severity] ?? "UNKNOWN";
}

// A newer coordinator may know more of them.
function styleOf({ severity }: AttentionItem): Style {
  return severityStyles[severity] ?? "plain";
}

function causeWord(cause: AttentionCause): string {
  return (AttentionCause[cause] ?? "UNKNOWN").toLowerCase().replaceAll("_", "-");
}

function readCause(word: string): AttentionCause {
  const known = Object.values(AttentionCause).filter(
    (value): value is AttentionCause => typeof value === "number" && value !== AttentionCause.UNSPECIFIED,
  );
  const found = known.find((cause) => causeWord(cause) === word.toLowerCase().replaceAll("_", "-"));
  if (found !== undefined) return found;
  const words = known.map(causeWord);
  throw usageError(
    `--cause has no cause ${JSON.stringify(word)}`,
    `${didYouMean(word.toLowerCase(), words) ?? ""} Causes are: ${words.join(", ")}.`.trim(),
  );
}
