import { sanitize } from "./sanitize.ts";

/**
 * Values as a line of CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe before it: names
 * come from whoever runs a worker.
 */
export function csvLine(values: readonly string[]): string {
  return values.map(field).join(",");
}

function field(value: string): string {
  const safe = sanitize(value);
  const text = /^[=+\-@\t\r]/.test(safe) && !/^-?\d+(\.\d+)?$/.test(safe) ? `'${safe}` : safe;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
