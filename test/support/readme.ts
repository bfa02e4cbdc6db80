import { readFileSync, writeFileSync } from "node:fs";
import { configTable } from "../../server/config.ts";

const begin = "<!-- settings: made by npm run gen -->\n";
const end = "<!-- end of settings -->";

/** The README with the table of settings as the code has it. */
export function renderReadme(readme: string): string {
  const [before = "", rest = ""] = readme.split(begin);
  const after = rest.slice(rest.indexOf(end));
  return `${before}${begin}${configTable().trim()}\n${after}`;
}

/** Writes the table into the README; with `isCheck` fails when it is not there as it should be. */
export function updateReadme(path: string, isCheck: boolean): void {
  const readme = readFileSync(path, "utf8");
  const rendered = renderReadme(readme);
  if (readme === rendered) return;
  if (isCheck) throw new Error("the table of settings in README.md is not the code's: npm run gen");
  writeFileSync(path, rendered);
}
