import { jobFilterTerms, workerFilterTerms } from "@muster/client/filter";
import { contextSettings, settings } from "../config/settings.ts";
import { makeGlobalOptions } from "../global-options.ts";
import { pad, widthOf } from "../output/width.ts";

/** The options that every command takes, with those that other help leaves out. */
export function optionLines(): string[] {
  const options = makeGlobalOptions().filter(({ long }) => long !== "--api-key");
  return [
    "Options of all commands; they may stand anywhere in front of --:",
    "",
    ...pairLines(options.map(({ flags, description }) => [flags, description])),
    "",
    "What only some commands take is the same wherever it is: --dry-run shows what would be done, --wait",
    "waits for the end, --exit-status exits with 9 when the job failed, --reason is for the audit log,",
    "--limit, --all and --page-token say how much of a list is shown.",
  ];
}

/** How answers are printed. */
export function formattingLines(): string[] {
  return [
    "How answers are printed, by -o:",
    "",
    ...pairLines([
      ["text", "for people: a table on a terminal; elsewhere a row a line with a tab between cells"],
      ["wide", "the same with every column, and nothing cut"],
      ["json", "one document: the proto3 JSON of the answer (--json)"],
      ["jsonl", "a line of JSON for each row, event or change"],
      ["yaml", "the same as json, in YAML"],
      ["name", "ids or names alone, for xargs"],
      ["none", "nothing; the exit code says it all"],
    ]),
    "",
    "--fields takes names as JSON has them, with dots into what they hold: they become the columns of",
    "text, and all that JSON and YAML show. --no-headers leaves the titles out, --time iso|raw shows",
    "points in time as RFC 3339 or seconds since 1970 instead of how long ago.",
    "",
    "Examples:",
    "  muster job list --fields jobId,state,spec.kind",
    "  muster job list -o jsonl --fields jobId,spec.labels | jq -r .jobId",
    "  muster worker list -o wide --time iso",
    "",
    "Data is on stdout; messages, progress and errors are on stderr. With -o json and jsonl an error is",
    'a line of JSON on stderr: {"error":{"code","reason","message","fieldViolations","suggestion",...}}',
  ];
}

/** The configuration files and what they may hold. */
export function configurationLines(): string[] {
  return [
    "Settings come from the command line, else from the environment, else from these files, the first",
    "that has them:",
    "",
    ...pairLines([
      [".muster.yaml", "of the project: in the directory of work, or the nearest above it"],
      ["config.yaml", "yours: $XDG_CONFIG_HOME/muster/ (~/.config/muster/), or MUSTER_CLIENT_CONFIG"],
      ["/etc/muster/config.yaml", "of this machine"],
    ]),
    "",
    "Settings:",
    "",
    ...pairLines(settings.map(({ name, help }) => [name, help])),
    "",
    "Settings of a context, below contexts: NAME: (not in a project's file, which may only name one):",
    "",
    ...pairLines(contextSettings.map(({ name, help }) => [name, help])),
    "",
    "Example:",
    "  context: prod",
    "  output: wide",
    "  contexts:",
    "    prod: { address: https://muster.example:7070 }",
    "    lab: { address: http://10.0.0.7:7070, keyFile: ~/lab.key, readOnly: true }",
    "",
    "Keys are in credentials.yaml beside yours, put there by muster login; others must not be able to",
    "read it. A key is sent to the address that it was checked at, and to no other. What a project's file",
    "chose gets the key of its context, never the one of the environment.",
    "See what holds: muster config list --sources",
  ];
}

/** The language of --filter, from the terms that the coordinator knows. */
export function filterLines(): string[] {
  const terms = (all: typeof jobFilterTerms): string[] =>
    pairLines(
      all.flatMap(({ example, doc, values }) => [
        [example, doc],
        ...inLines(values).map((line) => ["", line]),
      ]),
    );
  return [
    "A filter is a line of terms; all of them must hold:",
    "",
    ...pairLines([
      ["state:running skill:gpu", "key and value"],
      ["kind:shell.run,agent.*", "any of several values; * at the end: whatever begins so"],
      ["age>10m attempt>=2", "compared: > >= < <="],
      ["-queue:default", "not"],
      ['project:"a b" "some text"', "quotes, and text that is looked for anywhere, in any case"],
    ]),
    "",
    "There is no OR, AND, NOT and no parenthesis: they are an error with its place. Between quotes they",
    "are text.",
    "",
    "Terms of jobs; text is looked for in title, kind and external id:",
    "",
    ...terms(jobFilterTerms),
    "",
    "Terms of workers; text is looked for in name, host and id:",
    "",
    ...terms(workerFilterTerms),
    "",
    "Examples:",
    "  muster job list --filter 'state:running skill:gpu age>10m'",
    "  muster job list --filter 'kind:agent.* -queue:nightly priority>=high'",
  ];
}

// The values that a term takes, a few to a line.
function inLines(values: readonly string[]): string[] {
  const lines: string[] = [];
  for (const value of values) {
    const last = lines.at(-1);
    if (last === undefined || last.length + value.length > 55) lines.push(`  ${value}`);
    else lines[lines.length - 1] = `${last} ${value}`;
  }
  return lines;
}

/** Pairs of a name and its meaning, below each other. */
export function pairLines(pairs: readonly (readonly string[])[]): string[] {
  const width = Math.max(...pairs.map(([left]) => widthOf(left ?? "")));
  return pairs.map(([left, right]) => `  ${pad(left ?? "", width)}  ${right ?? ""}`);
}
