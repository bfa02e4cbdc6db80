import type { Config } from "../config.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Batcher } from "../domain/batcher.ts";
import type { Caller, Coordinator, Log } from "../domain/context.ts";
import type { Accept, LeaseResult, ResultAnswer } from "../domain/leases.ts";
import type { LiveStreams } from "../domain/live-streams.ts";
import type { AttemptReport, ReportAnswer } from "../domain/reports.ts";
import type { Lease } from "../domain/submit.ts";
import type { HelloAdmission } from "./admission.ts";
import type { Renewals } from "./renewals.ts";
import type { LinkSession } from "./session.ts";

/** What links work with. Made once, by `server.ts`. */
export interface LinkParts {
  readonly coordinator: Coordinator;
  readonly config: Config;
  readonly log: Log;
  readonly dispatcher: Dispatcher;
  readonly accepts: Batcher<Accept, boolean>;
  readonly results: Batcher<LeaseResult, ResultAnswer>;
  readonly reports: Batcher<AttemptReport, ReportAnswer>;
  readonly renewals: Renewals;
  readonly admission: HelloAdmission;
  /** What ends with its key. */
  readonly streams: LiveStreams;
  /** Makes the token of an attempt that the caller runs. */
  createJobToken(caller: Caller, lease: Lease): Promise<string>;
  /** The open links of this coordinator. */
  readonly sessions: Set<LinkSession>;
  /** Where artifacts and child jobs go. */
  readonly apiAddress: string;
  readonly clusterEpoch: number;
  /** Milliseconds of a steady clock. */
  readonly nowMs: () => number;
  /** How soon a link that is sent away may come back. */
  readonly reconnectAfterMs: () => number;
  /** Counts a refused frame, and logs it at most once a second by reason. */
  refused(frame: string, reason: string): void;
  /** Runs what nobody awaits; a failure is logged with what was being attempted. */
  attempt(what: string, body: () => Promise<unknown>): Promise<void>;
}
