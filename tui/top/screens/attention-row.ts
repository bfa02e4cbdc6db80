import { type AttentionItem, AttentionSeverity } from "@muster/client/v1/explain_service";
import type { Style } from "../../output/paint.ts";
import { showAge, showCounted } from "../../output/time.ts";
import { fitTo } from "../../output/width.ts";
import { layEnds, layLine, type Piece, safeText } from "../lines.ts";
import type { ScreenFrame } from "../shell/screen.ts";

/** How bad something is, the same everywhere: glyph, word, colour. */
export interface SeverityLook {
  readonly word: string;
  readonly glyph: string;
  readonly ascii: string;
  readonly style: Style;
}

/** The look of each severity. */
export const severityLooks: Readonly<Record<AttentionSeverity, SeverityLook>> = {
  [AttentionSeverity.UNSPECIFIED]: { word: "unknown", glyph: "?", ascii: "?", style: "dim" },
  [AttentionSeverity.NOTICE]: { word: "info", glyph: "·", ascii: ".", style: "dim" },
  [AttentionSeverity.WARNING]: { word: "warn", glyph: "▲", ascii: "!", style: "yellow" },
  [AttentionSeverity.CRITICAL]: { word: "crit", glyph: "■", ascii: "#", style: "red" },
};

/** A problem in one line: how bad, what, how many jobs, since when. */
export function attentionRow(item: AttentionItem, isCursor: boolean, frame: ScreenFrame): string {
  const look = severityLooks[item.severity];
  const glyph = frame.glyphs === "ascii" ? look.ascii : look.glyph;
  const jobs = item.jobs === 0 ? "" : showCounted(item.jobs, "job");
  const right: Piece[] = [
    { text: `${jobs}  ${showAge(item.since, frame.nowMs).padStart(7)} `, style: "dim" },
  ];
  const bar = frame.glyphs === "ascii" ? ">" : "▌";
  if (frame.isLinear) {
    return layLine(
      [{ text: `${isCursor ? "Selected: " : ""}${look.word}: ${item.summary}, ${jobs}` }],
      frame,
    );
  }
  const front = isCursor ? bar : " ";
  if (isCursor) {
    const text = safeText(`${glyph} ${item.target}  ${item.summary}`, frame);
    const tail = right.map((piece) => piece.text).join("");
    return frame.paint("selected", `${front}${fitTo(text, frame.columns - 2 - tail.length)} ${tail}`);
  }
  const left: Piece[] = [
    { text: front },
    { text: `${glyph} `, style: look.style },
    { text: item.target },
    { text: `  ${item.summary}`, style: "dim" },
  ];
  return layEnds(left, right, frame);
}
