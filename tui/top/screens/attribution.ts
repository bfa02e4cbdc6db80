import { Code, ConnectError } from "@connectrpc/connect";
import { type Attribution, type AttributionBy, StatsService } from "@muster/client/v1/stats_service";
import { attributionCsv, attributionWords } from "../../commands/stats-attribution.ts";
import { readPastTime } from "../../input/past-time.ts";
import { timeFromMs } from "../../input/values.ts";
import { durationToMs, showCount, showDuration } from "../../output/time.ts";
import { layLine } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import type { Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import type { ListState } from "../store/list.ts";
import { lookUp } from "./ask.ts";
import { tabLine } from "./facts.ts";
import { relatedKey, wayTo } from "./go.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";
import { tabKeys } from "./tab-keys.ts";

const whose = [...attributionWords.keys()];
const spans: readonly string[] = ["24h", "7d", "30d", "90d", "365d"];

const terms: readonly FilterTerm[] = [
  { name: "by", about: "owner of the worker, or author of the pull request", values: whose },
  { name: "project", about: "of this project alone" },
  { name: "since", about: "30d, or a day like 2026-11-01" },
  { name: "until", about: "2d, or a day: not from then on" },
];

const right = (id: string, title: string, width: number, rank: number | undefined, cell: Cell) => ({
  ...{ id, title, width, align: "right" as const, cell },
  ...(rank === undefined ? {} : { rank }),
});
type Cell = ColumnSpec<Attribution>["cell"];

const columns: readonly ColumnSpec<Attribution>[] = [
  {
    id: "who",
    title: "WHO",
    width: 16,
    cell: ({ contributor }) => ({ text: contributor || "-", style: contributor === "" ? "dim" : "plain" }),
  },
  { id: "project", title: "PROJECT", width: 18, cell: ({ project }) => ({ text: project || "-" }) },
  right("done", "DONE", 7, undefined, ({ succeeded }) => ({ text: showCount(succeeded) })),
  right("failed", "FAILED", 7, 1, ({ failed }) => ({
    text: showCount(failed),
    style: failed > 0n ? "yellow" : "dim",
  })),
  right("time", "TIME", 8, 2, ({ runTime }) => ({ text: tookOf(runTime) })),
  right("prs", "PRS", 5, undefined, ({ pullRequests }) => ({ text: showCount(pullRequests) })),
  { id: "merged", title: "MERGED", width: 0, cell: ({ merged }) => ({ text: showCount(merged) }) },
];

/** Who did how much for which project: by the owners of workers, or by the authors of pull requests. */
export function createAttribution(shell: Shell): ListScreen<Attribution> {
  const client = shell.client(StatsService);
  const asked = (filter: string) => {
    const given = readTerms(filter, terms);
    const [start, end] = [timeOf(given, "since", shell), timeOf(given, "until", shell)];
    const by = attributionWords.get(given.get("by") ?? "owner");
    return {
      ...(by === undefined ? {} : { by: by satisfies AttributionBy }),
      project: given.get("project") ?? "",
      ...(start === undefined ? {} : { startTime: timeFromMs(start) }),
      ...(end === undefined ? {} : { endTime: timeFromMs(end) }),
    };
  };
  const shown = (name: string): string => knownTerms(screen.query().filter, terms).get(name) ?? "";
  const by = (): string => shown("by") || "owner";
  const since = (): string => shown("since") || "30d";
  const set = (name: string, value: string): void => {
    const given = new Map(knownTerms(screen.query().filter, terms)).set(name, value);
    screen.setFilter([...given].map(([term, text]) => writeTerm(term, text)).join(" "));
  };
  const save = async (): Promise<void> => {
    const rows = await lookUp(shell, async (call) => {
      const all: Attribution[] = [];
      for (let pageToken = "", isFirst = true; isFirst || pageToken !== ""; isFirst = false) {
        const request = { ...asked(screen.query().filter), pageSize: 1_000, pageToken };
        const answer = await client.listAttribution(request, call);
        all.push(...answer.attributions);
        pageToken = answer.nextPageToken;
      }
      return all;
    });
    if (rows !== undefined) await shell.save(`attribution-${by()}.csv`, attributionCsv(rows));
  };
  const screen = createListScreen<Attribution>(shell, {
    id: "attribution",
    title: () => "Attribution",
    idOf: ({ contributor, project }) => JSON.stringify([contributor, project]),
    columns,
    source: pagedSources<Attribution>(
      async ({ filter }, pageToken, signal) => {
        const request = { ...asked(filter), pageSize, pageToken };
        const answer = await client.listAttribution(request, { signal, timeoutMs: 30_000 });
        return { rows: answer.attributions, nextPageToken: answer.nextPageToken };
      },
      { everyMs: 10_000 },
    ),
    orders: [
      { id: "who", label: "by name" },
      { id: "done", label: "most done first", compare: (one, other) => less(other.succeeded, one.succeeded) },
      {
        id: "prs",
        label: "most pull requests first",
        compare: (one, other) => less(other.pullRequests, one.pullRequests),
      },
      { id: "merged", label: "most merged first", compare: (one, other) => less(other.merged, one.merged) },
    ],
    terms,
    head: (list, frame) => [
      tabLine(
        whose.map((word) => ({ label: `by ${word}`, isChosen: word === by() })),
        frame,
      ),
      layLine([{ text: ` ${sumText(list)} since ${since()}`, style: "dim" }], frame),
    ],
    none: "Nobody did anything in that time.",
    keys: (list) => [
      ...tabKeys("way to count", whose, { chosen: by, choose: (word) => set("by", word) }),
      {
        id: "attribution.span",
        keys: ["w"],
        label: "longer time",
        group: "look",
        danger: "none",
        hint: 1,
        run: () => {
          const at = spans.indexOf(since());
          set("since", spans[(at + 1) % spans.length] ?? "30d");
        },
      },
      {
        id: "attribution.save",
        keys: ["ctrl-s"],
        label: "save as CSV",
        group: "act",
        danger: "none",
        equal: { command: "stats attribution", method: "StatsService.ListAttribution" },
        hint: 2,
        run: () => void save(),
      },
      relatedKey(shell, list.current, ({ project }) => [
        wayTo(shell, "jobs of the project", "jobs", writeTerm("project", project)),
        wayTo(shell, "what this project got from all", "attribution", writeTerm("project", project)),
      ]),
    ],
    equals: [{ command: "stats attribution", method: "StatsService.ListAttribution" }],
    command: () =>
      commandLine(
        "stats attribution",
        ["--by", by()],
        ["--project", shown("project")],
        ["--since", since()],
        ["--until", shown("until")],
      ),
    copies: ({ contributor, project }) => [
      ["who", contributor],
      ["project", project],
    ],
  });
  return screen;
}

// What is on the page, and whether there is more.
function sumText({ rows, tokens }: ListState<Attribution>): string {
  const all = [...rows.values()];
  const sum = (of: (row: Attribution) => bigint): string =>
    showCount(all.reduce((total, row) => total + of(row), 0n));
  const isWhole = tokens.next === "" && tokens.previous === "";
  const words = [
    `${sum(({ succeeded }) => succeeded)} done`,
    `${sum(({ failed }) => failed)} failed`,
    `${sum(({ pullRequests }) => pullRequests)} pull requests, ${sum(({ merged }) => merged)} merged`,
  ];
  return `${words.join(", ")}${isWhole ? "" : " on this page"}`;
}

function timeOf(given: ReadonlyMap<string, string>, name: string, shell: Shell): number | undefined {
  const text = given.get(name);
  if (text === undefined) return undefined;
  const reading = readPastTime(text, shell.serverNow());
  if (reading.kind === "wrong") throw new ConnectError(`${name} ${reading.message}`, Code.InvalidArgument);
  return reading.value;
}

function tookOf(duration: Attribution["runTime"]): string {
  return duration === undefined ? "-" : showDuration(durationToMs(duration));
}

function less(one: bigint, other: bigint): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
