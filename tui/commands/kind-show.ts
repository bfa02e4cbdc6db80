import type { Duration } from "@bufbuild/protobuf/wkt";
import type { KindCounts, KindFacts, Queue } from "@muster/client/v1/queue_service";
import type { Output } from "../output/output.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showCount, showDuration } from "../output/time.ts";
import { gateCells } from "./queue-show.ts";

/** Who serves a kind, and of one that is built in what its payload is. */
export function kindFacts(kind: KindFacts | undefined, output: Output): string[] {
  if (kind === undefined) return [];
  const { description, suggestedCron, requiredScope, builtIn, lastDay } = kind;
  const facts: [string, Cell | undefined][] = [
    ["served by", servedBy(kind)],
    ["last 24h", lastDay && `${showCount(lastDay.attempts)} ended, ${showCount(lastDay.dead)} dead`],
    ["succeeded", lastDay?.successRate === undefined ? undefined : `${percent(lastDay)} %`],
    [
      "ran",
      lastDay?.runP50 && lastDay.runP95 && `p50 ${runTime(lastDay.runP50)}, p95 ${runTime(lastDay.runP95)}`,
    ],
  ];
  if (!builtIn) return layFacts(facts, output.layout);
  facts.push(
    ["what", description],
    ["meant for", suggestedCron === "" ? "when it is asked for" : suggestedCron],
    ["scope", requiredScope === "" ? "submit" : `submit and ${requiredScope}`],
  );
  return [...layFacts(facts, output.layout), ...(output.isTty ? [""] : []), ...payloadTable(kind, output)];
}

/** A table of kinds: who serves them, and how they went in the last day. */
export function kindTable(kinds: readonly Queue[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "KIND" },
    { title: "STATE" },
    { title: "SERVED BY" },
    { title: "24H", align: "right" },
    { title: "OK %", align: "right" },
    { title: "DEAD", align: "right", drop: 1 },
    { title: "P95", align: "right", drop: 3 },
    { title: "LEASED", align: "right", drop: 2 },
    { title: "LIMIT", align: "right", drop: 2 },
    { title: "RATE", align: "right", drop: 3 },
    { title: "WHY", drop: 1 },
  ] as const;
  const rows = kinds.map((one): Cell[] => {
    const [name = "", state = "", leased = "", limit = "", rate = "", why = ""] = gateCells(one, nowMs);
    return [name, state, ...factCells(one.kind), leased, limit, rate, why];
  });
  return layTable(columns, rows, output.layout);
}

// A coordinator that is older says nothing of them.
function factCells(kind: KindFacts | undefined): Cell[] {
  const counts = kind?.lastDay;
  if (kind === undefined || counts === undefined) return ["-", "-", "-", "-", "-"];
  return [
    shortlyServedBy(kind),
    showCount(counts.attempts),
    percent(counts),
    showCount(counts.dead),
    counts.runP95 === undefined ? "-" : runTime(counts.runP95),
  ];
}

function shortlyServedBy({ workers: [first = ""], workerCount, onDemand }: KindFacts): string {
  if (workerCount === 0) return onDemand ? "on demand" : "nobody";
  return workerCount === 1 ? first : `${first} +${showCount(workerCount - 1)}`;
}

function servedBy({ workers, workerCount, onDemand }: KindFacts): string {
  if (workerCount === 0) {
    return onDemand ? "the coordinator, when it has jobs" : "no worker that is connected";
  }
  const more = workerCount > workers.length ? ` and ${showCount(workerCount - workers.length)} more` : "";
  return `${workers.join(", ")}${more}`;
}

function percent({ successRate }: KindCounts): string {
  return successRate === undefined ? "-" : (Math.floor(successRate * 1_000) / 10).toFixed(1);
}

function runTime(time: Duration): string {
  return showDuration(durationToMs(time));
}

function payloadTable({ payloadSchema }: KindFacts, output: Output): string[] {
  const columns = [
    { title: "PAYLOAD" },
    { title: "TYPE" },
    { title: "DEFAULT" },
    { title: "WHAT", drop: 1 },
  ] as const;
  const { properties, required } = readSchema(payloadSchema);
  const rows = Object.entries(properties).map(([name, property]): Cell[] => [
    name,
    typeOf(property),
    required.includes(name) ? "required" : shownDefault(property),
    textOf(property, "description"),
  ]);
  return layTable(columns, rows, output.layout);
}

interface ObjectSchema {
  readonly properties: Readonly<Record<string, object>>;
  readonly required: readonly string[];
}

// It is what the coordinator made; a newer one may say it otherwise.
function readSchema(text: string): ObjectSchema {
  try {
    const { properties = {}, required = [] }: Partial<ObjectSchema> = JSON.parse(text);
    return { properties, required };
  } catch {
    return { properties: {}, required: [] };
  }
}

function typeOf(property: object): string {
  const choices: unknown = Reflect.get(property, "enum");
  if (Array.isArray(choices)) return choices.map(String).join(", ");
  const either: unknown = Reflect.get(property, "anyOf");
  if (Array.isArray(either)) return either.map((one: object) => typeOf(one)).join(" or ");
  return textOf(property, "type") || "any";
}

function shownDefault(property: object): string {
  const value: unknown = Reflect.get(property, "default");
  return value === undefined ? "-" : JSON.stringify(value);
}

function textOf(property: object, name: string): string {
  const value: unknown = Reflect.get(property, name);
  return typeof value === "string" ? value : "";
}
