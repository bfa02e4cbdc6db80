import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AuditEntry,
  AuditEntrySchema,
  AuditService,
  ListAuditEntriesResponseSchema,
} from "@muster/client/v1/audit_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeOption } from "../input/options.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { timeFromMs } from "../input/values.ts";
import { messageJson, type Output } from "../output/output.ts";
import { escapeJson, sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showAge, showCount, showCounted, showTime } from "../output/time.ts";
import { followStream } from "../stream/reconnect.ts";
import { registerVerify } from "./audit-verify.ts";
import { reconnecting } from "./job-watch.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface FilterOptions {
  readonly mine?: boolean;
  readonly actor?: string;
  readonly action?: string;
  readonly target?: string;
  /** In milliseconds since 1970. */
  readonly since?: number;
  readonly until?: number;
}

/** Registers `muster audit`. */
export function registerAudit(cli: Cli): void {
  const audit = cli.program.command("audit").description("See who changed what, when and why.");
  registerList(audit, cli);
  registerTail(audit, cli);
  registerExport(audit, cli);
  registerVerify(audit, cli);
}

function withFilters(command: MusterCommand, cli: Cli): MusterCommand {
  return command
    .option("--mine", "only what your own key did")
    .option("--actor <actor>", "only of this one, e.g. key:4fQz81aB9xYw, worker:gpu-1, system")
    .option("--action <verb>", "only this verb, e.g. worker.drain; ending in a dot: all that begin so")
    .option("--target <id>", "only what was done to this: an id or a name")
    .option("--since <time>", "only since then: 2h, 14:02, 2026-11-22", pastTimeOption(cli.surroundings.now));
}

function registerList(audit: MusterCommand, cli: Cli): void {
  withPages(withFilters(audit.command("list").alias("ls"), cli))
    .description("List entries, newest first.")
    .examples(
      "muster audit list --mine --since 14:02",
      "muster audit list --action worker. --since 2d",
      "muster audit list --target wrk_01m82r1twhe6evt5tx2c7en6h1 --json",
    )
    .option("--until <time>", "only until then", pastTimeOption(cli.surroundings.now))
    .action(
      cli.action(async (call, options: PageOptions & FilterOptions) => {
        const filter = filterOf(options);
        const page = await collectPages(options, (size, token) => fetchPage(call, filter, size, token));
        call.output.print({
          schema: ListAuditEntriesResponseSchema,
          message: create(ListAuditEntriesResponseSchema, {
            entries: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => entryTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ auditId }) => auditId),
        });
        notePage(call.output, page, "entries");
        return exitCodes.done;
      }),
    );
}

function registerTail(audit: MusterCommand, cli: Cli): void {
  withFilters(audit.command("tail"), cli)
    .description("Follow the log: the latest entries, then each new one, until you end it.")
    .examples("muster audit tail", "muster audit tail --action job.cancel -o jsonl")
    .option("-n, --limit <number>", "entries to begin with (10)", wholeOption(0, 1_000))
    .action(cli.action((call, options: FilterOptions & { readonly limit?: number }) => tail(call, options)));
}

function registerExport(audit: MusterCommand, cli: Cli): void {
  withFilters(audit.command("export"), cli)
    .description("Print every entry in JSON, a line each, newest first: to keep the log elsewhere.")
    .examples("muster audit export --since 30d > audit.jsonl")
    .option("--until <time>", "only until then", pastTimeOption(cli.surroundings.now))
    .action(cli.action((call, options: FilterOptions) => exportAll(call, options)));
}

type Filter = ReturnType<typeof filterOf>;

function filterOf({ mine = false, actor = "", action = "", target = "", since, until }: FilterOptions) {
  if (mine && actor !== "") {
    throw usageError("--mine and --actor contradict each other", "Give one of the two.");
  }
  return {
    actor: mine ? "me" : actor,
    action,
    target,
    ...(since === undefined ? {} : { since: timeFromMs(since) }),
    ...(until === undefined ? {} : { until: timeFromMs(until) }),
  };
}

async function fetchPage(call: Call, filter: Filter, pageSize: number, pageToken: string) {
  const request = { ...filter, pageSize, pageToken };
  const response = await call.client(AuditService).listAuditEntries(request, call.once());
  return { rows: response.entries, nextPageToken: response.nextPageToken };
}

/** How often `tail` looks. */
const lookMs = 1_000;
/** An entry may be committed so long after one that was made later. */
const overlapMs = 10_000;

async function tail(call: Call, options: FilterOptions & { readonly limit?: number }): Promise<number> {
  const filter = filterOf(options);
  const seen = new Map<string, number>();
  const news = (entries: readonly AuditEntry[]): AuditEntry[] =>
    entries.filter(({ auditId }) => !seen.has(auditId)).toSorted((a, b) => (a.auditId < b.auditId ? -1 : 1));
  let sinceMs: number | undefined;
  async function* look(signal: AbortSignal): AsyncGenerator<AuditEntry[]> {
    for (;;) {
      const since = sinceMs === undefined ? {} : { since: timeFromMs(sinceMs - overlapMs) };
      const limit = sinceMs === undefined ? { limit: Math.max(1, options.limit ?? 10) } : { all: true };
      const page = await collectPages(limit, (size, token) =>
        fetchPage(call, { ...filter, ...since }, size, token),
      );
      const fresh = news(page.rows);
      for (const { auditId, time } of fresh) seen.set(auditId, time === undefined ? 0 : timestampMs(time));
      // Without an entry so far, the first one decides where to begin.
      const newestMs = Math.max(sinceMs ?? 0, ...seen.values());
      if (newestMs > 0) sinceMs = newestMs;
      for (const [auditId, ms] of seen) if (ms < newestMs - 2 * overlapMs) seen.delete(auditId);
      yield fresh;
      await delay(lookMs, undefined, { signal });
    }
  }
  let isFirst = true;
  for await (const fresh of followStream(look, { ...reconnecting(call), isComplete: () => false })) {
    const shown = isFirst && options.limit === 0 ? [] : fresh;
    isFirst = false;
    for (const entry of shown) {
      call.output.printOne({
        schema: AuditEntrySchema,
        message: entry,
        text: () => [entryLine(entry)],
        names: () => [entry.auditId],
      });
    }
  }
  return exitCodes.interrupted;
}

async function exportAll(call: Call, options: FilterOptions): Promise<number> {
  const filter = filterOf(options);
  let pageToken = "";
  let entries = 0;
  let notedMs = call.surroundings.now();
  do {
    const page = await fetchPage(call, filter, 1_000, pageToken);
    for (const entry of page.rows) {
      if (call.output.format === "name") call.output.data(entry.auditId);
      else call.output.data(escapeJson(JSON.stringify(messageJson(AuditEntrySchema, entry))));
    }
    entries += page.rows.length;
    pageToken = page.nextPageToken;
    if (call.surroundings.now() - notedMs > 10_000) {
      notedMs = call.surroundings.now();
      call.output.note(`${showCount(entries)} so far, back to ${showTime(page.rows.at(-1)?.time)}`);
    }
  } while (pageToken !== "" && !call.signal.aborted);
  call.signal.throwIfAborted();
  call.output.note(`${showCounted(entries, "entry", "entries")}.`);
  return exitCodes.done;
}

function entryTable(entries: readonly AuditEntry[], output: Output, nowMs: number): string[] {
  const columns = [
    output.isTty ? ({ title: "AGE", align: "right" } as const) : { title: "TIME" },
    { title: "ACTOR", drop: 3 },
    { title: "ACTION" },
    { title: "TARGET" },
    { title: "REASON", drop: 2 },
    { title: "DETAILS", drop: 1 },
  ];
  const rows = entries.map((entry): Cell[] => [
    output.isTty ? showAge(entry.time, nowMs) : showTime(entry.time),
    entry.actor,
    entry.action,
    entry.target,
    entry.reason || "-",
    detailsText(entry),
  ]);
  return layTable(columns, rows, output.layout);
}

function entryLine(entry: AuditEntry): string {
  const { actor, action, target, reason } = entry;
  const cells = [showTime(entry.time), actor, action, target, reason || "-", detailsText(entry)];
  return cells.map(sanitize).join("\t");
}

// Short, in a line: a list of facts rather than JSON.
function detailsText({ details }: AuditEntry): string {
  return Object.entries(details ?? {})
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
