import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Check,
  CheckLevel,
  type DatabaseStatus,
  type GetSystemResponse,
  SystemService,
} from "@muster/client/v1/system_service";
import type { Style } from "../../output/paint.ts";
import { durationToMs, showAge, showCount, showDuration } from "../../output/time.ts";
import { type ListColumn, layHeading, layLine, layRow, layTitles } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { type AsideState, createAside } from "../store/aside.ts";
import { type Fact, factLines, quietLine, textLines } from "./facts.ts";
import { createPage } from "./page.ts";

/** The control plane itself: its coordinators, its database, and the checks of `doctor server`. */
export function createSystem(shell: Shell): Screen {
  const client = shell.client(SystemService);
  const checks = createAside<readonly Check[]>({
    read: async (_key, call) => (await client.checkServer({}, { ...call, timeoutMs: 60_000 })).checks,
    now: shell.now,
    changed: shell.changed,
    everyMs: 60_000,
  });
  return createPage<GetSystemResponse>(shell, {
    id: "system",
    title: () => "System",
    read: (signal) => client.getSystem({}, { signal, timeoutMs: 30_000 }),
    lines: (system, frame) => {
      const why = shell.barrier("operate");
      const state = why === undefined ? checks.of("") : { value: undefined, cause: why };
      return systemLines(system, state, frame);
    },
    keys: () => [
      {
        id: "system.check",
        keys: ["t"],
        label: "check again",
        group: "act",
        danger: "none",
        equal: { command: "doctor server", method: "SystemService.CheckServer" },
        hint: 1,
        when: () => shell.barrier("operate"),
        run: () => {
          checks.forget();
          shell.changed();
        },
      },
      {
        id: "system.keys",
        keys: ["K"],
        label: "keys",
        group: "go",
        danger: "none",
        hint: 2,
        run: () => shell.show("keys"),
      },
    ],
    equals: [
      { command: "system", method: "SystemService.GetSystem" },
      { command: "doctor server", method: "SystemService.CheckServer" },
    ],
    command: () => commandLine("system"),
    subject: () => undefined,
    besides: checks.follow,
  });
}

/** The whole page. */
function systemLines(
  system: GetSystemResponse,
  checks: AsideState<readonly Check[]>,
  frame: ScreenFrame,
): string[] {
  const heading = (text: string, more = ""): string =>
    layHeading([{ text, style: "bold" }, { text: more === "" ? "" : ` ${more}` }], frame);
  return [
    heading("Coordinators", String(system.coordinators.length)),
    ...coordinatorLines(system, frame),
    ...(system.database === undefined ? [] : [heading("Database"), ...databaseLines(system.database, frame)]),
    heading("Checks", checksText(checks.value)),
    ...checkLines(checks, frame),
  ];
}

function coordinatorLines(system: GetSystemResponse, frame: ScreenFrame): string[] {
  const isCompact = frame.layout === "compact";
  const columns: ListColumn[] = [
    { title: "ID", width: isCompact ? 10 : 14 },
    { title: "VERSION", width: 8 },
    { title: "UP", width: 7, align: "right" },
    { title: "SEEN", width: 6, align: "right" },
    { title: "LINKS", width: 6, align: "right" },
    { title: "API", width: 0 },
  ];
  const versions = new Set(system.coordinators.map(({ version }) => version));
  const nowMs = system.time === undefined ? frame.nowMs : timestampMs(system.time);
  const rows = system.coordinators.map((one) => {
    const isLate = one.seenTime !== undefined && nowMs - timestampMs(one.seenTime) > 15_000;
    return layRow(
      [
        { text: one.coordinatorId, style: one.coordinatorId === system.coordinatorId ? "bold" : "plain" },
        { text: one.version, style: versions.size > 1 ? "yellow" : "plain" },
        { text: showAge(one.startTime, nowMs) },
        { text: showAge(one.seenTime, nowMs), style: isLate ? "yellow" : "plain" },
        { text: showCount(one.links) },
        { text: one.apiAddress, style: "dim" },
      ],
      columns,
      frame,
    );
  });
  const delay =
    system.loopDelay === undefined
      ? ""
      : `, event loop at most ${showDuration(durationToMs(system.loopDelay))} late`;
  const mine = `${system.coordinatorId} answers: ${showBytes(system.rssBytes)} of memory, ${showCount(system.watches)} watches${delay}`;
  return [...(frame.isLinear ? [] : [layTitles(columns, frame)]), ...rows, ...textLines(mine, frame, "dim")];
}

function databaseLines(database: DatabaseStatus, frame: ScreenFrame): string[] {
  const ms = (duration: DatabaseStatus["roundTrip"]): string =>
    duration === undefined ? "" : showDuration(durationToMs(duration));
  const facts: Fact[] = [
    ["version", `${database.version}, schema ${database.schema}${database.embedded ? ", embedded" : ""}`],
    ["round trip", ms(database.roundTrip)],
    ["in use", `${showCount(database.connections)} of ${showCount(database.maxConnections)} connections`],
    ["size", showBytes(database.sizeBytes)],
    [
      "oldest",
      database.oldestTransaction === undefined
        ? ""
        : `a transaction is open for ${ms(database.oldestTransaction)}`,
    ],
    ["clock", clockText(database)],
  ];
  return factLines(facts, frame);
}

function clockText({ clockAhead }: DatabaseStatus): string {
  if (clockAhead === undefined) return "";
  const ms = durationToMs(clockAhead);
  return `${showDuration(Math.abs(ms))} ${ms < 0 ? "behind" : "ahead of"} the coordinator's`;
}

const levelLooks: Readonly<Record<CheckLevel, { word: string; glyph: string; ascii: string; style: Style }>> =
  {
    [CheckLevel.UNSPECIFIED]: { word: "unknown", glyph: "?", ascii: "?", style: "dim" },
    [CheckLevel.OK]: { word: "ok", glyph: "✔", ascii: "+", style: "green" },
    [CheckLevel.WARN]: { word: "warn", glyph: "▲", ascii: "!", style: "yellow" },
    [CheckLevel.FAIL]: { word: "fail", glyph: "■", ascii: "#", style: "red" },
    [CheckLevel.SKIP]: { word: "skip", glyph: "·", ascii: ".", style: "dim" },
  };

function checkLines({ value, cause }: AsideState<readonly Check[]>, frame: ScreenFrame): string[] {
  if (value === undefined) return [quietLine(cause === "" ? "Checking..." : `Not checked: ${cause}`, frame)];
  // The worst first; equal ones as they were made.
  const order = [CheckLevel.FAIL, CheckLevel.WARN, CheckLevel.UNSPECIFIED, CheckLevel.OK, CheckLevel.SKIP];
  const sorted = [...value].sort((one, other) => order.indexOf(one.level) - order.indexOf(other.level));
  return sorted.flatMap((check) => {
    const look = levelLooks[check.level];
    const took = check.took === undefined ? "" : showDuration(durationToMs(check.took));
    return [
      layLine(
        [
          {
            text: ` ${frame.glyphs === "ascii" ? look.ascii : look.glyph} ${look.word.padEnd(5)}`,
            style: look.style,
          },
          { text: check.id.padEnd(frame.layout === "compact" ? 20 : 28) },
          { text: ` ${took.padStart(6)}  `, style: "dim" },
          { text: check.detail },
        ],
        frame,
      ),
      ...(check.fix === "" ? [] : textLines(`    fix: ${check.fix}`, frame)),
    ];
  });
}

function checksText(checks: readonly Check[] | undefined): string {
  if (checks === undefined) return "";
  const count = (level: CheckLevel): number => checks.filter((check) => check.level === level).length;
  return `${count(CheckLevel.OK)} ok, ${count(CheckLevel.WARN)} warn, ${count(CheckLevel.FAIL)} fail`;
}

function showBytes(bytes: bigint): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = Number(bytes);
  let at = 0;
  while (size >= 1024 && at < units.length - 1) {
    size /= 1024;
    at += 1;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}
