import type { Handler } from "./context.ts";
import type { Attachment, AttemptEnd, CloseReason } from "./engine/messages.ts";
import { IsolationError, type IsolationOptions } from "./isolation.ts";
import { echo } from "./kinds/echo.ts";
import { shellRun } from "./kinds/shell-run.ts";
import type { Logger } from "./logger.ts";
import { WorkerOptionsError } from "./options.ts";
import type { Publication } from "./published.ts";
import { exportTraces } from "./tracing.ts";
import type { TransportChoice } from "./transport/choose.ts";
import { Worker, WorkerRefusedError } from "./worker.ts";

/** What `muster worker run` is told. */
export interface DaemonOptions {
  /** `host:port` of either listener, or a URL. */
  readonly address: string;
  /** The worker's key. */
  readonly key: string;
  /** Where the API listener is, when it is not where the coordinator says. */
  readonly apiAddress?: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly ca?: string;
  /** PEM of a certificate to show to the server, and of its private key. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly transport?: TransportChoice;
  /** Names the state directory. */
  readonly name?: string;
  readonly slots?: number;
  readonly points?: number;
  readonly skills?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Names that jobs of `shell.run` get from the daemon's environment, besides the usual ones. */
  readonly envAllow?: readonly string[];
  /** How far the programs of jobs are kept from this machine. Default: level `none`. */
  readonly isolation?: IsolationOptions;
  /** Kinds besides the built-in `shell.run` and `echo`; the same name replaces a built-in one. */
  readonly handlers?: Readonly<Record<string, Handler>>;
  /** Take one job and end. Default: go on until told to stop. */
  readonly once?: boolean;
  /** How long `once` waits for an offer after attaching. Default 2 s. */
  readonly idleMs?: number;
  /** How long running jobs have after the first signal. Default 30 s. */
  readonly drainGraceMs?: number;
  /** How long the machine is there after the first signal: what runs 20 s before is given back. */
  readonly drainDeadlineMs?: number;
  /** How long results are kept once they are acknowledged. Default 0. */
  readonly resultRetentionMs?: number;
  /** The linked projects and sessions that it publishes. */
  readonly links?: LinksSource;
  /** Default: `$XDG_STATE_HOME/muster/worker/<name>`. */
  readonly stateDir?: string;
  /** The environment of the daemon. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Tells of signals to the process; `processSignals` in a program of its own. */
  readonly signals: SignalSource;
  readonly logger: Logger;
  /** Called once, when first attached. */
  readonly onReady?: (attachment: Attachment) => void;
}

/** Where what a daemon publishes comes from. */
export interface LinksSource {
  /** What it publishes at its start. */
  readonly first: Publication;
  /** Tells of changes, and of changes that could not be read, until the answer is called. */
  follow(listener: {
    readonly changed: (publication: Publication) => void;
    readonly failed: (why: string) => void;
  }): () => void;
}

/** Subscribes to SIGTERM and SIGINT until the answer is called. */
export type SignalSource = (listen: (signal: "SIGTERM" | "SIGINT") => void) => () => void;

/** Exit codes of `muster worker run`. */
export const daemonExitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  refused: 4,
  conflict: 5,
  jobFailed: 9,
  nothingToDo: 20,
  interrupted: 130,
  terminated: 143,
} as const;

/**
 * Runs a worker with the built-in kinds until it ends; resolves with the exit code and never rejects.
 *
 * The first signal drains: running jobs end, or are given back after the grace. The second gives them back at
 * once, and the code is 130 or 143. Otherwise: 0 drained; 2 options; 4 key refused or revoked; 5 version or
 * identity conflict; 1 anything else. With `once`: 0 the job succeeded, 9 it failed or was cancelled, 20 there
 * was none, 5 its lease was lost.
 */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const { logger } = options;
  const exporting = await exportTraces(options.env).catch((error: unknown) => {
    logger("warn", "spans are not exported", { why: error instanceof Error ? error.message : String(error) });
    return undefined;
  });
  let end: AttemptEnd | undefined;
  let forced: "SIGTERM" | "SIGINT" | undefined;
  let signalCount = 0;
  const worker: Worker = new Worker(workerOptions(options, () => worker));
  worker.onAttemptEnd((ended) => {
    end = ended;
  });
  const unsubscribe = options.signals((signal) => {
    signalCount += 1;
    if (signalCount === 1) {
      logger("info", "draining; a second signal stops now and gives the jobs back", { signal });
      void worker.stop();
    } else {
      forced = signal;
      void worker.stop({ graceMs: 0 });
    }
  });
  const unfollow = options.links?.follow({
    changed: (publication) => {
      worker.publish(publication);
      const { linkedProjects, sessions } = publication;
      logger("info", "published anew", { linkedProjects: linkedProjects.length, sessions: sessions.length });
    },
    failed: (why) => logger("error", "what was published before stands", { why }),
  });
  try {
    await worker.start();
    if (worker.attachment !== undefined) options.onReady?.(worker.attachment);
  } catch (error) {
    if (error instanceof WorkerOptionsError) {
      for (const { option, message } of error.problems) logger("error", `${option} ${message}`);
      return daemonExitCodes.usage;
    }
    if (error instanceof IsolationError) {
      logger("error", error.message);
      return daemonExitCodes.usage;
    }
    if (!(error instanceof WorkerRefusedError))
      logger("error", error instanceof Error ? error.message : String(error));
  } finally {
    void worker.closed.then(() => {
      unsubscribe();
      unfollow?.();
    });
  }
  const reason = await worker.closed;
  await exporting?.close();
  if (forced !== undefined)
    return forced === "SIGINT" ? daemonExitCodes.interrupted : daemonExitCodes.terminated;
  if (isUnwanted(reason)) logger("error", reason.detail, { kind: reason.kind });
  return exitCode(reason, end, options.once === true);
}

/** The signals of this process. */
export function processSignals(listen: (signal: "SIGTERM" | "SIGINT") => void): () => void {
  const onSigterm = () => listen("SIGTERM");
  const onSigint = () => listen("SIGINT");
  process.on("SIGTERM", onSigterm);
  process.on("SIGINT", onSigint);
  return () => {
    process.off("SIGTERM", onSigterm);
    process.off("SIGINT", onSigint);
  };
}

function workerOptions(options: DaemonOptions, worker: () => Worker) {
  const {
    address,
    key,
    apiAddress,
    ca,
    certificate,
    transport,
    name,
    slots,
    points,
    skills,
    labels,
    stateDir,
  } = options;
  const { env, envAllow = [], idleMs = 2000, logger } = options;
  const { drainGraceMs, drainDeadlineMs, resultRetentionMs, isolation } = options;
  const times = { drainGraceMs, drainDeadlineMs, resultRetentionMs };
  const shell = shellRun({
    env,
    envAllow,
    bootRecord: () => worker().bootRecord,
    isolation: () => worker().isolation,
  });
  const handlers = { echo, "shell.run": shell, ...options.handlers };
  const given = {
    apiAddress,
    ca,
    certificate,
    transport,
    name,
    slots,
    points,
    skills,
    labels,
    stateDir,
    isolation,
    ...times,
  };
  const once = options.once === true ? { once: { idleMs } } : {};
  return {
    address,
    key,
    handlers,
    env,
    logger,
    ...once,
    ...options.links?.first,
    ...withoutUndefined(given),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

// Safe: what is left out is undefined, and what is kept is not.
function withoutUndefined<T extends object>(given: T): Defined<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Defined<T>;
}

function isUnwanted({ kind }: CloseReason): boolean {
  return kind === "refused" || kind === "revoked" || kind === "replaced" || kind === "failed";
}

function exitCode(reason: CloseReason, end: AttemptEnd | undefined, isOnce: boolean): number {
  switch (reason.kind) {
    case "idle":
      return daemonExitCodes.nothingToDo;
    case "finished":
      return onceExitCode(end);
    case "stopped":
      return isOnce && end !== undefined ? onceExitCode(end) : daemonExitCodes.ok;
    case "refused": {
      const isKey = reason.errorCode === 16 || reason.errorCode === 7;
      return isKey
        ? daemonExitCodes.refused
        : reason.errorCode === 3
          ? daemonExitCodes.usage
          : daemonExitCodes.conflict;
    }
    case "revoked":
      return daemonExitCodes.refused;
    case "replaced":
      return daemonExitCodes.conflict;
    case "failed":
      return daemonExitCodes.failed;
  }
}

// Without an acknowledgement the result is safe in the outbox, but nobody knows yet what it did.
function onceExitCode(end: AttemptEnd | undefined): number {
  if (end === undefined || end.outcome === "lost" || end.status === "superseded")
    return daemonExitCodes.conflict;
  if (end.status === "rejected") return daemonExitCodes.jobFailed;
  return end.outcome === "succeeded" || end.outcome === "parked" || end.outcome === "released"
    ? daemonExitCodes.ok
    : daemonExitCodes.jobFailed;
}
