import { readFileSync } from "node:fs";
import { findUpward } from "./commands/package-files.ts";

/** The version of this package. */
export function readVersion(): string {
  const path = findUpward("package.json");
  const text: unknown = path === undefined ? undefined : JSON.parse(readFileSync(path, "utf8"));
  const isObject = typeof text === "object" && text !== null && "version" in text;
  return isObject ? String(text.version) : "unknown";
}
