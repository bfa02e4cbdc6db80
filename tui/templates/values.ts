import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ParameterType, type TemplateParameter } from "@muster/client/v1/template_service";
import { usageError, type Violation } from "../errors.ts";
import { readText } from "../input/files.ts";
import { quote } from "../input/values.ts";
import type { Surroundings } from "../surroundings.ts";

/**
 * Values of `--param name=value`, of the types that the template gives them; `@file` is the text of a file. What the
 * template does not know is sent as it is: the server says what is meant. Throws a usage error with all problems.
 */
export async function readParameters(
  given: Readonly<Record<string, string>>,
  parameters: readonly TemplateParameter[],
  surroundings: Surroundings,
): Promise<{ [key: string]: Value }> {
  const problems: Violation[] = [];
  const values: { [key: string]: Value } = {};
  for (const [name, said] of Object.entries(given)) {
    const type = parameters.find((one) => one.name === name)?.type ?? ParameterType.STRING;
    const isText = type === ParameterType.TEXT || type === ParameterType.STRING;
    const text =
      isText && said.startsWith("@") ? await readText(said.slice(1), "--param", surroundings) : said;
    const value = typed(type, text);
    if (value === undefined)
      problems.push({ field: `--param ${name}`, message: `${quote(text)} is not ${words[type]}` });
    else values[name] = create(ValueSchema, fromJson(ValueSchema, value));
  }
  if (problems.length > 0)
    throw usageError("not all parameters are what the template asks for", undefined, problems);
  return values;
}

/** The words of a type. */
export const words: Readonly<Record<ParameterType, string>> = {
  [ParameterType.UNSPECIFIED]: "text",
  [ParameterType.STRING]: "text",
  [ParameterType.TEXT]: "text of many lines",
  [ParameterType.INTEGER]: "a whole number",
  [ParameterType.NUMBER]: "a number",
  [ParameterType.BOOLEAN]: "true or false",
};

function typed(type: ParameterType, text: string): JsonValue | undefined {
  switch (type) {
    case ParameterType.INTEGER:
      return /^-?\d{1,16}$/.test(text) ? Number(text) : undefined;
    case ParameterType.NUMBER:
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case ParameterType.BOOLEAN:
      return text === "true" ? true : text === "false" ? false : undefined;
    default:
      return text;
  }
}
