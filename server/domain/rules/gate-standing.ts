import { durationText, timeText } from "./durations.ts";

/** A gate as the store has it: what holds the jobs of a queue, kind, pool or project back. */
export interface GateFacts {
  /** `queue:<name>`, `kind:<name>`, `pool:<name>` or `project:<name>`. */
  readonly key: string;
  readonly used: number;
  /** Null: no limit. */
  readonly maxUsed: number | null;
  readonly pausedAt: Date | null;
  readonly pauseReason: string | null;
  /** When the pause ends by itself; null: when somebody ends it. */
  readonly resumeAt: Date | null;
  /** So many starts a period; null: no rate. */
  readonly rateJobs: number | null;
  readonly ratePeriodMs: number | null;
  /** Starts that were free at `tokensAt`. */
  readonly tokens: number;
  readonly tokensAt: Date;
}

/** How a gate stands at a moment. */
export interface GateStanding {
  /** What holds jobs back; null: it is open. */
  readonly closedBy: "paused" | "limit" | "rate" | null;
  /** For people. */
  readonly detail: string;
  /** When it opens by itself, where that is known. */
  readonly openAt: Date | null;
}

/** The sort and the name in the key of a gate. */
export function gateParts(key: string): { readonly type: string; readonly name: string } {
  const at = key.indexOf(":");
  return { type: key.slice(0, at), name: key.slice(at + 1) };
}

/** How a gate stands; undefined: nothing is limited. `openPrs` are the open pull requests that a project counts. */
export function gateStanding(gate: GateFacts | undefined, now: Date, openPrs: number | null): GateStanding {
  if (gate === undefined) return open("no limits");
  const { used, maxUsed, pausedAt, pauseReason, resumeAt, rateJobs, ratePeriodMs } = gate;
  if (pausedAt !== null && (resumeAt === null || resumeAt > now)) {
    const why = pauseReason ? ` (${pauseReason})` : "";
    const end = resumeAt === null ? "until somebody resumes it" : `until ${timeText(resumeAt)}`;
    return {
      closedBy: "paused",
      detail: `paused for ${durationText(now.getTime() - pausedAt.getTime())}, ${end}${why}`,
      openAt: resumeAt,
    };
  }
  if (maxUsed !== null && used >= maxUsed) {
    return { closedBy: "limit", detail: `full: ${usage(gate, openPrs)}`, openAt: null };
  }
  const nextMs = rateJobs === null || ratePeriodMs === null ? 0 : nextTokenMs(gate, now);
  if (rateJobs !== null && ratePeriodMs !== null && nextMs > 0) {
    const detail = `out of starts: ${rateJobs} in ${durationText(ratePeriodMs)}, the next one in ${durationText(nextMs)}`;
    return { closedBy: "rate", detail, openAt: new Date(now.getTime() + nextMs) };
  }
  return open(maxUsed === null ? "below its limits" : usage(gate, openPrs));
}

/** Milliseconds until a gate with a rate lets one more start; 0: now. */
function nextTokenMs({ rateJobs, ratePeriodMs, tokens, tokensAt }: GateFacts, now: Date): number {
  const perMs = (rateJobs ?? 1) / (ratePeriodMs ?? 1);
  const passedMs = Math.max(0, now.getTime() - tokensAt.getTime());
  const free = Math.min(rateJobs ?? 1, tokens + passedMs * perMs);
  return free >= 1 ? 0 : Math.ceil((1 - free) / perMs);
}

function usage({ used, maxUsed }: GateFacts, openPrs: number | null): string {
  if (openPrs === null) return `${used} of ${maxUsed} run`;
  const leases = Math.max(0, used - openPrs);
  return `${used} of ${maxUsed} taken (${openPrs} open pull requests, ${leases} running)`;
}

function open(detail: string): GateStanding {
  return { closedBy: null, detail, openAt: null };
}
