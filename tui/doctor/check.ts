/** How a check went: as it should be; works, and will not for ever; does not work; was not tried. */
export type CheckLevel = "ok" | "warn" | "fail" | "skip";

/** One look at one thing, as `muster doctor` prints it. */
export interface CheckResult {
  /** Stable name, e.g. `database.reachable`. */
  readonly id: string;
  readonly level: CheckLevel;
  readonly tookMs: number;
  /** What was seen. Untrusted text. */
  readonly detail: string;
  /** What to do about it; empty when nothing. */
  readonly fix: string;
}
