import { Document, isPair, isScalar, visit } from "yaml";
import { escapeJson, sanitize } from "./sanitize.ts";

/** A JSON value as a YAML document, fit for a terminal: what it could act on is written as an escape. */
export function showYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, (key, item) => {
    if (isPair(item)) return undefined;
    if (!isScalar(item) || typeof item.value !== "string") return undefined;
    // Only between double quotes does YAML know escapes.
    if (item.value.split("\n").some((line) => sanitize(line) !== line)) item.type = "QUOTE_DOUBLE";
    else if (key === "key" && item.value.includes("\n")) item.type = "QUOTE_DOUBLE";
    return undefined;
  });
  // The last newline is the line's own; one before it may belong to a text.
  return escapeJson(document.toString({ lineWidth: 0 }).replace(/\n$/, ""));
}
