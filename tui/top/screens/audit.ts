import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { type AuditEntry, AuditService } from "@muster/client/v1/audit_service";
import { readDuration, timeFromMs } from "../../input/values.ts";
import { showTime } from "../../output/time.ts";
import { layHeading } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import { showMoment } from "../shell/moments.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { goToTarget, readTarget } from "./attention-keys.ts";
import { type Fact, factLines, quietLine, textLines } from "./facts.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import type { ColumnSpec } from "./list-view.ts";
import { createScroll, scrollKeys } from "./text-pane.ts";

const terms: readonly FilterTerm[] = [
  { name: "actor", about: "who, like key:…, worker:…, system; me is you" },
  { name: "action", about: "the verb, like job.cancel; job. for all of them" },
  { name: "target", about: "what was changed: its id or name" },
  { name: "since", about: "2h, or a time like 2026-11-22T14:00:00Z" },
  { name: "until", about: "2h, or a time" },
];

/** The columns of the audit log. */
const auditColumns: readonly ColumnSpec<AuditEntry>[] = [
  {
    id: "time",
    title: "WHEN",
    width: ({ time }) => (time === "relative" ? 7 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ time }, frame) => ({ text: showMoment(time, frame) }),
  },
  { id: "actor", title: "WHO", width: 18, cell: ({ actor }) => ({ text: actor }) },
  { id: "action", title: "ACTION", width: 18, cell: ({ action }) => ({ text: action, style: "cyan" }) },
  {
    id: "target",
    title: "TARGET",
    width: ({ layout }) => (layout === "wide" ? 30 : 14),
    rank: 2,
    cell: ({ target }, { layout, glyphs }) => ({
      // What tells ids apart is at their end.
      text:
        layout === "wide" || target.length <= 14
          ? target
          : (glyphs === "ascii" ? "~" : "…") + target.slice(-13),
      style: "dim",
    }),
  },
  { id: "reason", title: "REASON", width: 0, cell: ({ reason }) => ({ text: reason }) },
];

/** Who changed what, newest first. */
export function createAudit(shell: Shell): ListScreen<AuditEntry> {
  const client = shell.client(AuditService);
  return createListScreen<AuditEntry>(shell, {
    id: "audit",
    title: () => "Audit",
    idOf: ({ auditId }) => auditId,
    columns: auditColumns,
    source: pagedSources<AuditEntry>(async ({ filter }, pageToken, signal) => {
      const given = readTerms(filter, terms);
      const since = timeOf("since", given.get("since"), shell.serverNow());
      const until = timeOf("until", given.get("until"), shell.serverNow());
      const request = {
        actor: given.get("actor") ?? "",
        action: given.get("action") ?? "",
        target: given.get("target") ?? "",
        ...(since === undefined ? {} : { since: timeFromMs(since) }),
        ...(until === undefined ? {} : { until: timeFromMs(until) }),
        pageSize,
        pageToken,
      };
      const answer = await client.listAuditEntries(request, { signal, timeoutMs: 30_000 });
      return { rows: answer.entries, nextPageToken: answer.nextPageToken };
    }),
    terms,
    none: "Nothing was changed.",
    openRow: (entry) => shell.push(createEntry(shell, entry)),
    preview: auditLines,
    previewRows: 8,
    keys: (list) => [
      {
        id: "audit.target",
        keys: ["o"],
        label: "go to what was changed",
        group: "go",
        danger: "none",
        hint: 2,
        when: () => {
          const entry = list.current();
          if (entry === undefined) return "nothing is selected";
          return readTarget(entry.target) === undefined ? "it has no screen" : undefined;
        },
        run: () => {
          const target = readTarget(list.current()?.target ?? "");
          if (target !== undefined) goToTarget(shell, target);
        },
      },
      {
        id: "audit.same-actor",
        keys: ["a"],
        label: "all of this actor",
        group: "look",
        danger: "none",
        hint: 3,
        when: () => (list.current() === undefined ? "nothing is selected" : undefined),
        run: () =>
          shell.show("audit", (screen) =>
            screen.filter?.apply(writeTerm("actor", list.current()?.actor ?? "")),
          ),
      },
    ],
    equals: [{ command: "audit list", method: "AuditService.ListAuditEntries" }],
    command: ({ filter }) => {
      const given = knownTerms(filter, terms);
      const actor = given.get("actor") ?? "";
      return commandLine(
        "audit list",
        actor === "me" ? "--mine" : "",
        ["--actor", actor === "me" ? "" : actor],
        ...["action", "target", "since", "until"].map(
          (name) => [`--${name}`, given.get(name) ?? ""] as const,
        ),
      );
    },
    copies: ({ target, requestId }) => [
      ["what was changed", target],
      ["the id of the call", requestId],
    ],
  });
}

/** An entry whole: what it was before and after, counts. */
function auditLines(entry: AuditEntry, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    [
      "when",
      entry.time === undefined
        ? ""
        : `${showTime(entry.time)} (${showMoment(entry.time, { ...frame, time: "relative" })} ago)`,
    ],
    ["who", entry.actor],
    ["action", entry.action],
    ["target", entry.target],
    ["reason", entry.reason],
    ["call", entry.requestId],
    ["id", entry.auditId],
  ];
  const details =
    entry.details === undefined || Object.keys(entry.details).length === 0
      ? [quietLine("It has no details.", frame)]
      : textLines(JSON.stringify(entry.details, null, 2), frame);
  return [...factLines(facts, frame), layHeading([{ text: "Details", style: "bold" }], frame), ...details];
}

/** An entry on a screen of its own. What is in the log never changes: nothing is read again. */
export function createEntry(shell: Shell, entry: AuditEntry): Screen {
  const scroll = createScroll();
  return {
    id: "audit-entry",
    title: () => entry.action,
    keys: () => [
      {
        id: "audit.target",
        keys: ["o"],
        label: "go to what was changed",
        group: "go",
        danger: "none",
        hint: 1,
        when: () => (readTarget(entry.target) === undefined ? "it has no screen" : undefined),
        run: () => {
          const target = readTarget(entry.target);
          if (target !== undefined) goToTarget(shell, target);
        },
      },
      ...scrollKeys(scroll),
    ],
    view: (frame) => scroll.window(auditLines(entry, frame), frame.rows),
    equals: [{ command: "audit list", method: "AuditService.ListAuditEntries" }],
    command: () =>
      commandLine(
        "audit list",
        ["--target", entry.target],
        ["--since", entry.time === undefined ? "" : new Date(timestampMs(entry.time)).toISOString()],
      ),
    scroll: scroll.by,
    currentId: () => entry.auditId,
  };
}

function timeOf(name: string, text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const length = readDuration(text);
  if (length.kind === "value") return nowMs - length.value;
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new ConnectError(
    `${name} is not a time: write it like 2h, or 2026-11-22T14:00:00Z`,
    Code.InvalidArgument,
  );
}
