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

/**
 * The same, for ids: what has the length of one goes in as it is, since no two elements, and no quote that ends, fit
 * into it. The server refuses what is none.
 */
export function writeIds(values: readonly unknown[]): string {
  let text = "{";
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (index > 0) text += ",";
    if (typeof value === "string") text += value.length === idLength ? value : quoted(value);
    else text += value === null || value === undefined ? "NULL" : quoted(String(value));
  }
  return `${text}}`;
}

const idLength = 36;

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
