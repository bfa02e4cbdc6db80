import { showCount } from "../../output/time.ts";
import { progressBar } from "../bars.ts";
import { layLine } from "../lines.ts";
import type { Overlay } from "../shell/screen.ts";
import { insideBox, layBox } from "./box.ts";

/** How far an action on many is. */
export interface ActProgress {
  readonly done: number;
  readonly skipped: number;
  /** How many there are, as counted beforehand. */
  readonly total: number;
}

/** Shows how far an action on many is; Esc stops it between two calls. What is done stays done. */
export function progressOverlay(title: string, progress: () => ActProgress, stop: () => void): Overlay {
  let isStopping = false;
  return {
    id: "progress",
    place: "body",
    press: ({ name }) => {
      if (name !== "esc") return;
      isStopping = true;
      stop();
    },
    closed: stop,
    view: (frame) => {
      const { done, skipped, total } = progress();
      const inner = insideBox(frame);
      const fraction = total === 0 ? 0 : (done + skipped) / total;
      const bar = progressBar(fraction, Math.min(40, inner.columns), frame.glyphs);
      const figures = `${showCount(done)} of ${showCount(total)} done${skipped === 0 ? "" : `, ${showCount(skipped)} skipped`}`;
      const lines = [layLine([{ text: bar, style: "cyan" }], inner), layLine([{ text: figures }], inner)];
      return layBox(title, lines, isStopping ? "stopping..." : "Esc stops after this call", frame);
    },
  };
}
