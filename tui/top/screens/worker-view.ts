import type { Lease } from "@muster/client/v1/lease_service";
import type { Session } from "@muster/client/v1/session";
import type { WorkerProject } from "@muster/client/v1/session_service";
import { type Worker, WorkerApproval, WorkerState } from "@muster/client/v1/worker";
import { workerLooks } from "../../output/states.ts";
import { showAge, showCount, showCounted } from "../../output/time.ts";
import { layHeading, layLine, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { ListState } from "../store/list.ts";
import { type Fact, factLines, quietLine, type Tab, tabLine, whenText } from "./facts.ts";
import { leaseLine } from "./lease-view.ts";
import type { ColumnSpec } from "./list-view.ts";

/** What is known about a worker besides itself. */
export interface WorkerRecord {
  readonly leases: readonly Lease[];
  /** The worker holds more leases than these. */
  readonly hasMore: boolean;
  readonly sessions: readonly Session[];
  readonly projects: readonly WorkerProject[];
}

/** The columns of the list of workers. */
export const workerColumns: readonly ColumnSpec<Worker>[] = [
  {
    id: "name",
    title: "NAME",
    width: ({ layout }) => (layout === "wide" ? 18 : 16),
    cell: ({ name }) => ({ text: name }),
  },
  {
    id: "state",
    title: "STATE",
    width: ({ layout }) => (layout === "compact" ? 1 : 11),
    cell: ({ state }, frame) => statePiece(state, frame),
  },
  {
    id: "jobs",
    title: "JOBS",
    width: 7,
    align: "right",
    cell: ({ leases, capacity }) => ({ text: `${leases}/${capacity?.slots ?? 0}` }),
  },
  {
    id: "points",
    title: "POINTS",
    width: 9,
    align: "right",
    rank: 3,
    cell: ({ pointsUsed, capacity }) => ({ text: `${pointsUsed}/${capacity?.points ?? 0}` }),
  },
  {
    id: "seen",
    title: "SEEN",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ seenTime }, frame) => ({ text: showMoment(seenTime, frame) }),
  },
  {
    id: "version",
    title: "VERSION",
    width: 8,
    rank: 2,
    cell: ({ version }) => ({ text: version || "-", style: "dim" }),
  },
  {
    id: "host",
    title: "HOST",
    width: 14,
    rank: 1,
    cell: ({ host }) => ({ text: host || "-", style: "dim" }),
  },
  {
    id: "skills",
    title: "SKILLS",
    width: 0,
    cell: ({ skills }) => ({ text: skills.map(({ name }) => name).join(" ") }),
  },
];

/** The states that have a tab, in the order of the tabs. */
export const workerTabStates: readonly WorkerState[] = [
  WorkerState.BUSY,
  WorkerState.IDLE,
  WorkerState.DRAINING,
  WorkerState.STALE,
  WorkerState.QUARANTINED,
  WorkerState.PENDING,
  WorkerState.DISABLED,
  WorkerState.OFFLINE,
];

/** A state as filters write it. */
export function workerStateWord(state: WorkerState): string {
  return workerLooks[state].word.toLowerCase();
}

/** The tabs: every state with the server's count. */
export function workerTabs(list: ListState<Worker>, chosen: string | undefined, frame: ScreenFrame): string {
  const total = totalOfWorkers(list);
  const all: Tab = {
    label: total === undefined ? "all" : `all ${showCount(total)}`,
    isChosen: chosen === undefined,
  };
  const states = workerTabStates.flatMap((state): Tab[] => {
    const count = list.counts?.get(state) ?? 0n;
    const word = workerStateWord(state);
    if (count === 0n && chosen !== word) return [];
    const { glyph, ascii, style } = workerLooks[state];
    const name = frame.layout === "compact" ? "" : `${word} `;
    return [
      {
        label: `${name}${showCount(count)}`,
        glyph: { text: frame.glyphs === "ascii" ? ascii : glyph, style },
        isChosen: chosen === word,
      },
    ];
  });
  return tabLine([all, ...states], frame);
}

/** How many workers the filter matches in all states. */
export function totalOfWorkers({ counts }: ListState<Worker>): bigint | undefined {
  return counts === undefined ? undefined : [...counts.values()].reduce((sum, count) => sum + count, 0n);
}

/** A worker beside the list, or on a screen of its own: what it is, and what it holds. */
export function workerLines(worker: Worker, record: WorkerRecord | undefined, frame: ScreenFrame): string[] {
  const { capacity, labels } = worker;
  const facts: Fact[] = [
    [
      "state",
      [statePiece(worker.state, { ...frame, layout: "wide" }), { text: `  ${heartbeat(worker, frame)}` }],
    ],
    ...why(worker, frame),
    [
      "capacity",
      `${worker.leases} of ${showCounted(capacity?.slots ?? 0, "slot")}, ${worker.pointsUsed} of ${showCounted(capacity?.points ?? 0, "point")}`,
    ],
    ["skills", worker.skills.map(({ name }) => name).join(" ")],
    ["kinds", worker.kinds.join(" ")],
    ["host", [worker.host, worker.version, worker.transport].filter((part) => part !== "").join("  ")],
    [
      "labels",
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(" "),
    ],
    ["owner", worker.owner],
    ["refused", worker.refusals.join("; ")],
    ["id", worker.workerId],
    [
      "registered",
      `${whenText(worker.createTime, frame)}, attached ${showCounted(worker.linkEpoch, "time")}`,
    ],
  ];
  return [
    layHeading([{ text: worker.name, style: "bold" }], frame),
    ...factLines(facts, frame),
    ...recordLines(record, frame),
  ];
}

function recordLines(record: WorkerRecord | undefined, frame: ScreenFrame): string[] {
  if (record === undefined) return [];
  const { leases, hasMore, sessions, projects } = record;
  const held =
    leases.length === 0
      ? [quietLine("It holds nothing.", frame)]
      : leases.map((lease) => leaseLine(lease, frame));
  return [
    layHeading(
      [{ text: "Leases", style: "bold" }, { text: ` ${leases.length}${hasMore ? "+" : ""}` }],
      frame,
    ),
    ...held,
    ...(sessions.length === 0 ? [] : [layHeading([{ text: "Sessions", style: "bold" }], frame)]),
    ...sessions.map(({ sessionId, label, project, primary, usable }) =>
      layLine(
        [
          { text: ` ${label || sessionId}  ${project}` },
          { text: `${primary ? "  primary" : ""}${usable ? "" : "  not usable"}`, style: "dim" },
        ],
        frame,
      ),
    ),
    ...(projects.length === 0 ? [] : [layHeading([{ text: "Linked projects", style: "bold" }], frame)]),
    ...projects.map(({ linkedProject }) =>
      layLine(
        [
          { text: ` ${linkedProject?.project ?? ""}` },
          { text: `  ${linkedProject?.root ?? ""}`, style: "dim" },
        ],
        frame,
      ),
    ),
  ];
}

function statePiece(state: WorkerState, { glyphs, layout }: ScreenFrame): Piece {
  const look = workerLooks[state];
  const glyph = glyphs === "ascii" ? look.ascii : look.glyph;
  return { text: layout === "compact" ? glyph : `${glyph} ${look.word}`, style: look.style };
}

function heartbeat({ seenTime }: Worker, { nowMs }: ScreenFrame): string {
  return seenTime === undefined ? "never seen" : `heartbeat ${showAge(seenTime, nowMs)} ago`;
}

// Why it gets no offers, where that is not what the state says.
function why(worker: Worker, frame: ScreenFrame): Fact[] {
  const { approval } = worker;
  return [
    ...(approval === WorkerApproval.PENDING
      ? [
          [
            "approval",
            `waits for an operator since ${whenText(worker.createTime, frame)}; a approves it`,
          ] as const,
        ]
      : []),
    ...(approval === WorkerApproval.NEWCOMER
      ? [["approval", "works within the limits of newcomers; a approves it"] as const]
      : []),
    ...(approval === WorkerApproval.REJECTED ? [["approval", "an operator rejected it"] as const] : []),
    ...(worker.offHours ? [["hours", "outside of its hours: it gets no offers"] as const] : []),
    ...(worker.drainRequested
      ? [["drain", "an operator wants it to take nothing new, until it is resumed"] as const]
      : []),
    ...(worker.quarantineReason === ""
      ? []
      : [["quarantine", `${worker.quarantineReason} (${whenText(worker.quarantineTime, frame)})`] as const]),
    ...(worker.suspectSince === undefined
      ? []
      : [
          [
            "suspect",
            `leaves a cancel without an answer since ${whenText(worker.suspectSince, frame)}`,
          ] as const,
        ]),
  ];
}
