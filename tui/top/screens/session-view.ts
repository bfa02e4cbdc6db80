import { type Session, SessionState } from "@muster/client/v1/session";
import type { Style } from "../../output/paint.ts";
import { showCounted } from "../../output/time.ts";
import { layHeading, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

interface SessionLook {
  readonly word: string;
  readonly glyph: string;
  readonly ascii: string;
  readonly style: Style;
}

const looks: Readonly<Record<SessionState, SessionLook>> = {
  [SessionState.UNSPECIFIED]: { word: "UNKNOWN", glyph: "?", ascii: "?", style: "dim" },
  [SessionState.IDLE]: { word: "IDLE", glyph: "○", ascii: ".", style: "green" },
  [SessionState.BUSY]: { word: "BUSY", glyph: "●", ascii: "*", style: "bold-green" },
  [SessionState.ENDED]: { word: "ENDED", glyph: "×", ascii: "x", style: "dim" },
};

const archivedLook: SessionLook = { word: "ARCHIVED", glyph: "‖", ascii: "=", style: "dim" };

/** The columns of the list of sessions. */
export const sessionColumns: readonly ColumnSpec<Session>[] = [
  {
    id: "session",
    title: "SESSION",
    width: ({ layout }) => (layout === "wide" ? 22 : 16),
    cell: ({ sessionId, label }) => ({ text: label || sessionId }),
  },
  {
    id: "state",
    title: "STATE",
    width: ({ layout }) => (layout === "compact" ? 1 : 10),
    cell: (session, frame) => sessionPiece(session, frame),
  },
  { id: "project", title: "PROJECT", width: 16, cell: ({ project }) => ({ text: project }) },
  { id: "worker", title: "WORKER", width: 14, rank: 3, cell: ({ workerName }) => ({ text: workerName }) },
  { id: "agent", title: "AGENT", width: 8, rank: 1, cell: ({ agent }) => ({ text: agent, style: "dim" }) },
  {
    id: "active",
    title: "ACTIVE",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 2,
    cell: ({ activeTime }, frame) => ({ text: showMoment(activeTime, frame) }),
  },
  {
    id: "use",
    title: "USE",
    width: 0,
    cell: ({ primary, usable, unusableReason }) => ({
      text: [primary ? "primary" : "", usable ? "" : `not usable: ${unusableReason}`]
        .filter((part) => part !== "")
        .join(", "),
      style: usable ? "plain" : "yellow",
    }),
  },
];

/** A session beside the list, or on a screen of its own. `waiting`: jobs that wait for it by name, where known. */
export function sessionLines(session: Session, waiting: number | undefined, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    ["state", [sessionPiece(session, { ...frame, layout: "wide" })]],
    [
      "use",
      session.usable
        ? session.primary
          ? "the first choice of its project"
          : "can be used"
        : session.unusableReason,
    ],
    [
      "waiting",
      waiting === undefined || waiting === 0 ? "" : `${showCounted(waiting, "job")} for it by name`,
    ],
    ["project", session.project],
    ["worker", `${session.workerName}  ${session.workerId}`],
    ["agent", [session.agent, session.agentSessionId].filter((part) => part !== "").join("  ")],
    ["role", session.role],
    ["terminal", session.terminalTarget],
    ["active", whenText(session.activeTime, frame)],
    ["published", whenText(session.registerTime, frame)],
    [
      "archived",
      session.archiveTime === undefined ? "" : `by an operator, ${whenText(session.archiveTime, frame)}`,
    ],
    ["id", session.sessionId],
  ];
  return [
    layHeading([{ text: session.label || session.sessionId, style: "bold" }], frame),
    ...factLines(facts, frame),
  ];
}

/** Glyph and word of what it does. */
export function sessionPiece(session: Session, { glyphs, layout }: ScreenFrame): Piece {
  const look = session.archived ? archivedLook : looks[session.state];
  const glyph = glyphs === "ascii" ? look.ascii : look.glyph;
  return { text: layout === "compact" ? glyph : `${glyph} ${look.word}`, style: look.style };
}
