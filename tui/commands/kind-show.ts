import type { KindFacts } from "@muster/client/v1/queue_service";
import type { Output } from "../output/output.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";

/** Who serves a kind, and of one that is built in what its payload is. */
export function kindFacts(kind: KindFacts | undefined, output: Output): string[] {
  if (kind === undefined) return [];
  const { workers, workerCount, description, suggestedCron, requiredScope, builtIn } = kind;
  const more = workerCount > workers.length ? ` and ${showCount(workerCount - workers.length)} more` : "";
  const facts: [string, Cell | undefined][] = [
    ["served by", workerCount === 0 ? "no worker that is connected" : `${workers.join(", ")}${more}`],
  ];
  if (!builtIn) return layFacts(facts, output.layout);
  facts.push(
    ["what", description],
    ["meant for", suggestedCron === "" ? "when it is asked for" : suggestedCron],
    ["scope", requiredScope === "" ? "submit" : `submit and ${requiredScope}`],
  );
  return [...layFacts(facts, output.layout), ...(output.isTty ? [""] : []), ...payloadTable(kind, output)];
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
