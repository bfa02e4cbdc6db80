import { Document, isMap, parseDocument } from "yaml";
import { writePrivate } from "./credentials.ts";
import { type ConfigPlace, configInvalid, readConfigText, userConfigPath } from "./files.ts";
import { parseConfig } from "./parse.ts";

/**
 * Changes the user's own file, comments and order kept, and answers its path. What would not be valid afterwards is
 * not written: CONFIG_INVALID.
 */
export function changeUserConfig(place: ConfigPlace, change: (document: Document) => void): string {
  const path = userConfigPath(place);
  const before = readConfigText(path) ?? "";
  const { violations } = parseConfig(before, path, "user");
  if (violations.length > 0) throw configInvalid(violations);
  const parsed = parseDocument(before);
  const document: Document = isMap(parsed.contents) ? parsed : new Document({});
  change(document);
  const after = document.toString({ lineWidth: 0 });
  const { violations: wrong } = parseConfig(after, path, "user");
  if (wrong.length > 0) throw configInvalid(wrong);
  writePrivate(path, after);
  return path;
}
