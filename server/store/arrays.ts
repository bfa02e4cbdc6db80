/** Writes a list as the literal of a Postgres array of one dimension. */
export function writeArray(values: readonly unknown[]): string {
  let text = "{";
  for (const [index, value] of values.entries()) {
    if (index > 0) text += ",";
    if (value === null || value === undefined) text += "NULL";
    else if (typeof value === "string") text += quoted(value);
    else text += String(value);
  }
  return `${text}}`;
}

/** Reads the text of a Postgres array of one dimension, of texts or UUIDs. */
export function readArray(text: string): (string | null)[] {
  const values: (string | null)[] = [];
  const item = /"((?:[^"\\]|\\.)*)"|([^{},"]+)/gs;
  for (const [, inQuotes, bare] of text.slice(1, -1).matchAll(item)) {
    if (inQuotes !== undefined) values.push(inQuotes.replace(/\\(.)/gs, "$1"));
    else values.push(bare === "NULL" ? null : (bare ?? ""));
  }
  return values;
}

// Ids and numbers need no quotes, and are most of what is sent.
function quoted(value: string): string {
  if (/^[0-9a-f-]+$/.test(value)) return value;
  return `"${value.replace(/["\\]/g, "\\$&")}"`;
}
