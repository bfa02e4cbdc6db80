import type { Config } from "../config.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Batcher } from "../domain/batcher.ts";
import type { Caller, Coordinator, Log } from "../domain/context.ts";
import {
  type Accept,
  createAcceptBatcher,
  createResultBatcher,
  type LeaseResult,
  type ResultAnswer,
} from "../domain/leases.ts";
import type { LiveStreams } from "../domain/live-streams.ts";
import { type AttemptReport, createReportBatcher, type ReportAnswer } from "../domain/reports.ts";
import type { Lease } from "../domain/submit.ts";
import { HelloAdmission } from "./admission.ts";
import { refusals } from "./refusals.ts";
import type { Renewals } from "./renewals.ts";
import type { LinkSession } from "./session.ts";

/** What links work with. Made once, by `createLinkParts`. */
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

/** What the parts of links are made of. */
export interface LinkPartsOptions
  extends Pick<
    LinkParts,
    | "coordinator"
    | "log"
    | "dispatcher"
    | "renewals"
    | "sessions"
    | "streams"
    | "createJobToken"
    | "nowMs"
    | "attempt"
  > {
  /** Known when the API listens. */
  readonly apiAddress: () => string;
  /** The cluster's epoch, which grows. */
  readonly clusterEpoch: () => number;
}

/** Makes what the links of a coordinator share. */
export function createLinkParts(options: LinkPartsOptions): LinkParts {
  const { coordinator, log, dispatcher, renewals, sessions, streams, createJobToken, nowMs, attempt } =
    options;
  const { config, counters } = coordinator;
  return {
    coordinator,
    config,
    log,
    dispatcher,
    accepts: createAcceptBatcher(coordinator),
    results: createResultBatcher(coordinator),
    reports: createReportBatcher(coordinator),
    renewals,
    admission: new HelloAdmission({
      renewals,
      counters,
      hellosPerSecond: config.hellosPerSecond,
      linksPerOrg: config.linksPerOrg,
      linksOf: (orgId) => dispatcher.linksOf(orgId),
      nowMs,
    }),
    sessions,
    streams,
    createJobToken,
    get apiAddress() {
      return options.apiAddress();
    },
    get clusterEpoch() {
      return options.clusterEpoch();
    },
    nowMs,
    reconnectAfterMs: () => 200 + Math.floor(Math.random() * 800),
    refused: refusals(log, counters, nowMs),
    attempt,
  };
}
