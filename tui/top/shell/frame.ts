import { sanitize } from "../../output/sanitize.ts";
import { showClock, showCounted, showDuration } from "../../output/time.ts";
import { layEnds, layLine, type Piece } from "../lines.ts";
import { type Freshness, looksOld } from "../store/connection.ts";
import type { StatusState } from "../store/status.ts";
import { type KeyBinding, labelOf } from "./bindings.ts";
import { showKey } from "./keys.ts";
import type { Overlay, ScreenFrame } from "./screen.ts";
import type { Toast } from "./toasts.ts";

/** The smallest screen that the console fits into. */
export const smallest = { columns: 60, rows: 16 };

/** Everything around a screen. */
export interface Surround {
  readonly context: string;
  readonly role: string;
  readonly isReadOnly: boolean;
  /** Version of this program. */
  readonly version: string;
  readonly status: StatusState;
  readonly freshness: Freshness;
  /** The clock of this machine. */
  readonly nowMs: number;
  /** Names of the screens on the stack, the one on top last. */
  readonly crumbs: readonly string[];
  readonly views: readonly {
    readonly id: string;
    readonly key: string;
    readonly title: string;
    readonly badge: string;
  }[];
  /** The view at the bottom of the stack. */
  readonly viewId: string;
  /** Changes that a freeze holds back; undefined while live. */
  readonly frozen: number | undefined;
  readonly note: string;
  readonly bindings: readonly KeyBinding[];
  readonly toast: Toast | undefined;
  readonly body: (frame: ScreenFrame) => string[];
  readonly overlay: Overlay | undefined;
}

/** Rows of a screen that are not the body's. */
export function chromeRows(frame: ScreenFrame): number {
  if (frame.isLinear) return 2;
  return frame.layout === "compact" ? 2 : 4;
}

/** The whole screen: exactly `rows` lines, none wider than `columns`. */
export function composeFrame(surround: Surround, frame: ScreenFrame): string[] {
  const { columns, rows } = frame;
  if (columns < smallest.columns || rows < smallest.rows) return tooSmall(frame);
  const header = headerLines(surround, frame);
  const footer = footerLines(surround, frame);
  const room = rows - header.length - footer.length;
  const body = bodyLines(surround, { ...frame, rows: room });
  return [...header, ...fill(body, room), ...footer].slice(0, rows);
}

function bodyLines(surround: Surround, frame: ScreenFrame): string[] {
  // Old figures look old.
  const isOld = looksOld(surround.freshness, surround.nowMs);
  const { overlay } = surround;
  const over = overlay?.place === "body" ? overlay.view(frame).slice(0, frame.rows) : [];
  // The body keeps its cursor in what is left of it.
  const rows = frame.rows - over.length;
  const lines = surround.body({
    ...frame,
    rows: Math.max(leastBody, rows),
    ...(isOld ? { paint: (_style, text) => frame.paint("dim", text) } : {}),
  });
  return [...fill(lines, rows), ...over];
}

/** Rows that a body is laid out for at least, also where an overlay covers it. */
const leastBody = 6;

function fill(lines: readonly string[], rows: number): string[] {
  return [...lines, ...Array.from({ length: Math.max(0, rows - lines.length) }, () => "")].slice(
    0,
    Math.max(0, rows),
  );
}

function headerLines(surround: Surround, frame: ScreenFrame): string[] {
  const first = layEnds(crumbPieces(surround, frame), livePieces(surround, frame), frame);
  return frame.layout === "compact" || frame.isLinear ? [first] : [first, tabLine(surround, frame)];
}

function crumbPieces({ context, role, isReadOnly, status, crumbs }: Surround, frame: ScreenFrame): Piece[] {
  const arrow = frame.glyphs === "ascii" ? " > " : " ▸ ";
  const org = status.status?.org ?? "";
  const where = org === "" ? context : `${context} / ${org}`;
  const who = isReadOnly ? `${role} (read only)` : role;
  const path = crumbs.join(arrow);
  if (frame.layout === "compact")
    return [
      { text: ` ${org || context}`, style: "dim" },
      { text: `  ${path}`, style: "bold" },
    ];
  if (crumbs.length > 1)
    return [
      { text: ` ${where}`, style: "dim" },
      { text: `  ${path}`, style: "bold" },
    ];
  return [{ text: " muster", style: "bold" }, { text: `  ${where}` }, { text: `  ${who}`, style: "dim" }];
}

function livePieces(surround: Surround, frame: ScreenFrame): Piece[] {
  const { status, nowMs, frozen, version } = surround;
  const pieces: Piece[] = [frozen === undefined ? livePiece(surround, frame) : frozenPiece(frozen, frame)];
  const { coordinators = [] } = status.status ?? {};
  const served = coordinators[0]?.version ?? "";
  if (frame.layout !== "compact") {
    if (served !== "" && served !== version) {
      pieces.push({ text: `  ${frame.glyphs === "ascii" ? "!" : "▲"} server ${served}`, style: "yellow" });
    }
    if (status.status !== undefined)
      pieces.push({ text: `  ${showCounted(coordinators.length, "coordinator")}` });
  }
  return [...pieces, { text: `  ${showClock(nowMs)} ` }];
}

function livePiece({ freshness, nowMs }: Surround, { glyphs }: ScreenFrame): Piece {
  const half = glyphs === "ascii" ? "?" : "◐";
  const { connection, receivedMs, quietMs } = freshness;
  if (connection.kind === "connecting") return { text: `${half} connecting`, style: "bold-yellow" };
  if (connection.kind === "lost" && connection.isRefused === true)
    return { text: `${glyphs === "ascii" ? "!" : "▲"} refused`, style: "bold-yellow" };
  if (connection.kind === "lost") return { text: `${half} reconnecting`, style: "bold-yellow" };
  const ageMs = nowMs - receivedMs;
  if (ageMs > quietMs) return { text: `${half} silent ${showDuration(ageMs)}`, style: "bold-yellow" };
  return { text: glyphs === "ascii" ? "* live" : "● live", style: "green" };
}

function frozenPiece(waiting: number, { glyphs }: ScreenFrame): Piece {
  const glyph = glyphs === "ascii" ? "=" : "‖";
  return { text: `${glyph} frozen${waiting === 0 ? "" : ` +${waiting}`}`, style: "bold-yellow" };
}

function tabLine({ views, viewId }: Surround, frame: ScreenFrame): string {
  const mark = frame.glyphs === "ascii" ? "*" : "·";
  const pieces = views
    .filter(({ key }) => key !== "")
    .flatMap(({ id, key, title, badge }): Piece[] => [
      { text: " " },
      { text: `${key}${id === viewId ? mark : " "}${title}`, style: id === viewId ? "bold" : "dim" },
      { text: badge, style: "yellow" },
    ]);
  return layLine(pieces, frame);
}

function footerLines(surround: Surround, frame: ScreenFrame): string[] {
  const { overlay } = surround;
  if (overlay?.place === "footer") return overlay.view({ ...frame, rows: 2 });
  const news = newsLine(surround, frame);
  const hints = hintLine(surround, frame);
  if (frame.layout === "compact" || frame.isLinear) return [news ?? hints];
  return [news ?? frame.paint("dim", (frame.glyphs === "ascii" ? "-" : "─").repeat(frame.columns)), hints];
}

// What the last key could not do goes first, then a loss (the header tells of it, too), then what was done.
function newsLine(surround: Surround, frame: ScreenFrame): string | undefined {
  const { freshness, nowMs, toast, context, note } = surround;
  const { connection } = freshness;
  const isUrgent = toast?.kind === "warning" || toast?.kind === "error";
  if (connection.kind === "lost" && !isUrgent) {
    const half = frame.glyphs === "ascii" ? "?" : "◐";
    const next = showDuration(Math.max(0, Math.ceil((connection.nextTryMs - nowMs) / 1000) * 1000));
    if (connection.isRefused === true) {
      const text = ` ${context} refuses: ${connection.cause}. :contexts chooses another, next try in ${next}`;
      return layLine([{ text, style: "bold-yellow" }], frame);
    }
    const age = showDuration(Math.floor((nowMs - freshness.receivedMs) / 1000) * 1000);
    const text = ` ${half} Reconnecting to ${context}: data is ${age} old, try ${connection.attempt}, next in ${next}: ${connection.cause}`;
    return layLine([{ text, style: "bold-yellow" }], frame);
  }
  if (toast !== undefined) {
    const undo =
      toast.undo === undefined ? [] : [{ text: `  u: ${toast.undo.label}`, style: "dim" as const }];
    return layLine([{ text: ` ${toast.text}`, style: toastStyles[toast.kind] }, ...undo], frame);
  }
  return note === "" ? undefined : layLine([{ text: ` ${note}`, style: "dim" }], frame);
}

const toastStyles = { info: "plain", done: "green", warning: "yellow", error: "red" } as const;

function hintLine({ bindings }: Surround, frame: ScreenFrame): string {
  const isAscii = frame.glyphs === "ascii";
  const dot = isAscii ? " - " : " · ";
  const hints = bindings
    .flatMap((binding) => (binding.hint === undefined ? [] : [{ binding, hint: binding.hint }]))
    .sort((one, other) => one.hint - other.hint)
    .filter(({ binding }) => binding.when?.() === undefined)
    .map(({ binding }) => `${showKey(binding.keys[0] ?? "", isAscii)} ${labelOf(binding)}`);
  let text = "";
  for (const hint of hints) {
    const longer = text === "" ? ` ${hint}` : text + dot + hint;
    if (longer.length > frame.columns) break;
    text = longer;
  }
  return layLine([{ text, style: "dim" }], frame);
}

function tooSmall(frame: ScreenFrame): string[] {
  const { columns, rows } = frame;
  const by = frame.glyphs === "ascii" ? "x" : "×";
  const dot = frame.glyphs === "ascii" ? "-" : "·";
  const text = `Terminal too small: ${columns}${by}${rows}, need ${smallest.columns}${by}${smallest.rows} ${dot} q quits`;
  return fill([layLine([{ text }], frame)], Math.max(1, rows));
}

/** What the breadcrumbs say of an id: enough to know it by. */
export function shortId(id: string): string {
  return id.length > 16 ? `…${sanitize(id.slice(-8))}` : sanitize(id);
}
