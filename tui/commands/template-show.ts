import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Template, TemplateParameter, TemplateRating } from "@muster/client/v1/template_service";
import type { Output } from "../output/output.ts";
import { sanitize, sanitizeLines } from "../output/sanitize.ts";
import { layFacts, layTable } from "../output/table.ts";
import { showYaml } from "../output/yaml.ts";
import { words } from "../templates/values.ts";

/** What is thought of a template: `4.5 of 5 (2)`. */
export function starsText({ stars, ratings }: Pick<Template, "stars" | "ratings">): string {
  return ratings === 0 ? "-" : `${stars.toFixed(1)} of 5 (${ratings})`;
}

/** A template for people: facts, parameters, job, and what is said of it. */
export function templateFacts(
  template: Template,
  ratings: readonly TemplateRating[],
  output: Output,
  nowMs: number,
): string[] {
  const { source, sourceSha256, digest } = template;
  const facts: [string, string | undefined][] = [
    ["template", sanitize(template.name)],
    ["version", orNone(template.version)],
    ["description", orNone(template.description)],
    ["source", orNone(source)],
    ["source sha256", orNone(sourceSha256)],
    ["digest", orNone(digest)],
    ["changed", output.timeAndAge(template.updateTime, nowMs) || undefined],
    ["by", orNone(template.author)],
    ["stars", starsText(template)],
  ];
  return [
    ...layFacts(facts, output.layout),
    "",
    ...parameterTable(template.parameters, output),
    ...sanitizeLines(showYaml({ job: template.job ?? {} })).split("\n"),
    ...ratings.flatMap(({ author, stars, note, updateTime }) => [
      "",
      `${stars} of 5  ${sanitize(author)}  ${output.timeAndAge(updateTime, nowMs)}`,
      ...(note === ""
        ? []
        : sanitizeLines(note)
            .split("\n")
            .map((line) => `  ${line}`)),
    ]),
  ];
}

function parameterTable(parameters: readonly TemplateParameter[], output: Output): string[] {
  if (parameters.length === 0) return [];
  const columns = [
    { title: "PARAMETER" },
    { title: "IS" },
    { title: "DEFAULT", drop: 1 },
    { title: "DESCRIPTION", drop: 2 },
  ];
  const rows = parameters.map((one) => [
    sanitize(one.name),
    one.choices.length === 0 ? words[one.type] : sanitize(one.choices.map(jsonOf).join(", ")),
    one.required ? "required" : one.default === undefined ? "-" : sanitize(jsonOf(one.default)),
    sanitize(one.description),
  ]);
  return [...layTable(columns, rows, output.layout), ""];
}

function jsonOf(value: TemplateParameter["choices"][number]): string {
  return JSON.stringify(toJson(ValueSchema, value));
}

function orNone(text: string): string | undefined {
  return text === "" ? undefined : sanitize(text);
}
