import { AttemptOutcome, Isolation, type Job, JobState } from "@muster/client/v1/job";
import { WorkerState } from "@muster/client/v1/worker";
import type { Paint, Style } from "./paint.ts";

/** How a state looks everywhere: one word, one glyph, one colour. */
export interface Look {
  readonly word: string;
  readonly glyph: string;
  /** Stands for the glyph where the terminal cannot show it. */
  readonly ascii: string;
  readonly style: Style;
}

/** Whether glyphs beyond ASCII can be shown. */
export type GlyphSet = "unicode" | "ascii";

/** The look of each state of a job. */
export const jobLooks: Readonly<Record<JobState, Look>> = {
  [JobState.UNSPECIFIED]: { word: "UNKNOWN", glyph: "?", ascii: "?", style: "dim" },
  [JobState.BLOCKED]: { word: "BLOCKED", glyph: "⊓", ascii: "^", style: "dim" },
  [JobState.SCHEDULED]: { word: "SCHEDULED", glyph: "◷", ascii: "@", style: "blue" },
  [JobState.READY]: { word: "READY", glyph: "○", ascii: ".", style: "plain" },
  [JobState.OFFERED]: { word: "OFFERED", glyph: "◔", ascii: "o", style: "cyan" },
  [JobState.RUNNING]: { word: "RUNNING", glyph: "▶", ascii: ">", style: "green" },
  [JobState.PARKED]: { word: "PARKED", glyph: "‖", ascii: "=", style: "blue" },
  [JobState.SUCCEEDED]: { word: "SUCCEEDED", glyph: "✔", ascii: "+", style: "dim-green" },
  [JobState.CANCELLED]: { word: "CANCELLED", glyph: "⊘", ascii: "-", style: "dim" },
  [JobState.DEAD]: { word: "DEAD", glyph: "†", ascii: "D", style: "magenta" },
};

/** The look of each state of a worker. */
export const workerLooks: Readonly<Record<WorkerState, Look>> = {
  [WorkerState.UNSPECIFIED]: { word: "UNKNOWN", glyph: "?", ascii: "?", style: "dim" },
  [WorkerState.IDLE]: { word: "IDLE", glyph: "○", ascii: ".", style: "green" },
  [WorkerState.BUSY]: { word: "BUSY", glyph: "●", ascii: "*", style: "bold-green" },
  [WorkerState.DRAINING]: { word: "DRAINING", glyph: "◒", ascii: "v", style: "yellow" },
  [WorkerState.STALE]: { word: "STALE", glyph: "◐", ascii: "?", style: "bold-yellow" },
  [WorkerState.OFFLINE]: { word: "OFFLINE", glyph: "×", ascii: "x", style: "red" },
  [WorkerState.QUARANTINED]: { word: "QUARANTINED", glyph: "⊗", ascii: "q", style: "bold-yellow" },
  [WorkerState.PENDING]: { word: "PENDING", glyph: "◌", ascii: "p", style: "cyan" },
  [WorkerState.DISABLED]: { word: "DISABLED", glyph: "‖", ascii: "=", style: "dim" },
};

/** A job that waits for its next try after a failure. */
export const retryLook: Look = { word: "SCHEDULED", glyph: "↻", ascii: "~", style: "yellow" };

/** A running job that somebody wants cancelled. */
export const cancellingLook: Look = { word: "RUNNING", glyph: "◌", ascii: "c", style: "yellow" };

/** How a job looks: its state, and the two that the state alone does not tell. */
export function lookOfJob(job: Job): Look {
  if (job.state === JobState.SCHEDULED && job.failures > 0) return retryLook;
  if (job.state === JobState.RUNNING && job.cancelRequested) return cancellingLook;
  return jobLooks[job.state];
}

/** Glyph and word, painted: `▶ RUNNING`. */
export function showLook(look: Look, glyphs: GlyphSet, paint: Paint): string {
  return paint(look.style, `${glyphs === "ascii" ? look.ascii : look.glyph} ${look.word}`);
}

/** Whether a run in this state has ended. */
export function isTerminal(state: JobState): boolean {
  return state === JobState.SUCCEEDED || state === JobState.CANCELLED || state === JobState.DEAD;
}

/** The word for how an attempt ended: `LOST`; `now` while it lasts. */
export function outcomeWord(outcome: AttemptOutcome): string {
  return outcome === AttemptOutcome.UNSPECIFIED ? "now" : (AttemptOutcome[outcome] ?? "UNKNOWN");
}

/** Whether the terminal shows more than ASCII: its locale is UTF-8, and it is not the Linux console. */
export function glyphSetOf(env: Readonly<Record<string, string | undefined>>): GlyphSet {
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "";
  if (env["TERM"] === "linux") return "ascii";
  return locale === "" || /utf-?8/i.test(locale) ? "unicode" : "ascii";
}

/** How far the programs of an attempt were kept from their machine: `bwrap`; `-` when it started none. */
export function isolationWord(isolation: Isolation): string {
  return isolationWords[isolation] ?? "-";
}

const isolationWords: Readonly<Partial<Record<Isolation, string>>> = {
  [Isolation.NONE]: "none",
  [Isolation.UID]: "uid",
  [Isolation.BWRAP]: "bwrap",
};
