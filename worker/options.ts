import { isAbsolute } from "node:path";
import type { Handler } from "./context.ts";
import type { ResultOutbox } from "./engine/pending-results.ts";
import { type IsolationOptions, isolationLevels } from "./isolation.ts";
import type { Logger } from "./logger.ts";
import type { LinkedProject, OwnSession, PublishConflict } from "./published.ts";
import { keyIdentity, stateDirectory } from "./state-directory.ts";
import { defaultApiPort, defaultWorkerPort, parseAddress, parseAddresses } from "./transport/address.ts";
import type { TransportChoice } from "./transport/choose.ts";

/** What a worker is and where its coordinator is. */
export interface WorkerOptions {
  /**
   * `host:port` of either listener (`host` alone: port 7071), or an `http://` or `https://` URL. Several, with
   * commas between them, are coordinators of one database: the worker moves on to the next when a link ends.
   */
  readonly address: string;
  /** The worker's key, `mk_worker_…`. */
  readonly key: string;
  /** What runs the jobs, by kind. */
  readonly handlers: Readonly<Record<string, Handler>>;
  /** Names the state directory. Default: the public part of the key. */
  readonly name?: string;
  /** What the worker can: 1 to 100 characters of `a-z 0-9 . _ -` each. */
  readonly skills?: readonly string[];
  /** The kinds to take. Default: those of `handlers`. */
  readonly kinds?: readonly string[];
  /** Jobs at once: 1 to 10,000. Default 4. */
  readonly slots?: number;
  /** Points at once: 1 to 1,000,000. Default: as many as slots. */
  readonly points?: number;
  /** Free text by key, for people: at most 32. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Default `auto`: a stream, and polling where streams do not pass. */
  readonly transport?: TransportChoice;
  /**
   * Where the API listener is. Default: what the coordinator says; before that, port 7070 of the same host
   * beside port 7071, and `address` itself beside any other.
   */
  readonly apiAddress?: string;
  /** PEM of the authority that signed the server's certificate. Default: those of Node. */
  readonly ca?: string;
  /** PEM of a certificate to show to the server, and of its private key. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Folder for the outbox and the boot record. Default: `$XDG_STATE_HOME/muster/worker/<name>`. */
  readonly stateDir?: string;
  /** An open outbox that several workers of this process share; needs `linkThread: false`. */
  readonly outbox?: ResultOutbox;
  /**
   * Run the link in a thread, where no handler can stop its heartbeats. Default true. Without it a handler
   * that computes for 15 s loses its jobs; for many light workers in one process.
   */
  readonly linkThread?: boolean;
  /** Where the worker's own log goes. Default: warnings and errors to stderr. */
  readonly logger?: Logger;
  /** Time that running jobs have when the worker is disposed of. Default 30 s. */
  readonly drainGraceMs?: number;
  /**
   * How long the machine is there after the request to stop, e.g. 120 s for a spot instance: what still runs 20 s
   * before is given back. Takes the place of `drainGraceMs`; with both the shorter time counts.
   */
  readonly drainDeadlineMs?: number;
  /**
   * How long results are kept on disk once they are acknowledged, at most 256 MiB of them. When the coordinators'
   * database has lost commits (an asynchronous failover) they are sent again. Default 0; not with `outbox`.
   */
  readonly resultRetentionMs?: number;
  /** Take one job and end; end without one after `idleMs`. */
  readonly once?: { readonly idleMs: number };
  /** Working copies of projects that this machine has; `Worker.publish` changes them. */
  readonly linkedProjects?: readonly LinkedProject[];
  /** Agent sessions on this machine; `Worker.publish` changes them. */
  readonly sessions?: readonly OwnSession[];
  /** Called with each linked project and session that was not taken over; it is logged anyway. */
  readonly onConflict?: (conflict: PublishConflict) => void;
  /** How far the programs of jobs are kept from this machine. Default: level `none`. */
  readonly isolation?: IsolationOptions;
  /** Where the default of `stateDir` comes from. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Options that cannot be used: all problems at once. */
export class WorkerOptionsError extends Error {
  override readonly name = "WorkerOptionsError";
  /** What is wrong, option by option. */
  readonly problems: readonly { readonly option: string; readonly message: string }[];

  constructor(problems: readonly { readonly option: string; readonly message: string }[]) {
    super(
      `the worker cannot start: ${problems.map(({ option, message }) => `${option} ${message}`).join("; ")}`,
    );
    this.problems = problems;
  }
}

/** Options with their defaults filled in. */
export interface ResolvedOptions {
  readonly identity: string;
  readonly skills: readonly string[];
  readonly kinds: readonly string[];
  readonly slots: number;
  readonly points: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly transport: TransportChoice;
  readonly stateDir: string;
  readonly isThreaded: boolean;
  readonly drainGraceMs: number;
  readonly resultRetentionMs: number;
}

/** What is left of a drain's deadline when jobs are given back: they stop, and that is acknowledged. */
const releaseBeforeMs = 20_000;
const maxRetentionMs = 7 * 24 * 3_600_000;

/** How long running jobs have after the request to stop. */
export function drainTimeMs({
  drainGraceMs,
  drainDeadlineMs,
}: Pick<WorkerOptions, "drainGraceMs" | "drainDeadlineMs">): number {
  if (drainDeadlineMs === undefined) return drainGraceMs ?? 30_000;
  const leftMs = Math.max(0, drainDeadlineMs - releaseBeforeMs);
  return Math.min(leftMs, drainGraceMs ?? leftMs);
}

const namePattern = /^[a-z0-9._-]{1,100}$/;
const transports: readonly string[] = ["auto", "stream", "poll"];

/** Checks options and fills defaults in. Throws a WorkerOptionsError. */
export function resolveOptions(
  options: WorkerOptions,
  env: Readonly<Record<string, string | undefined>>,
): ResolvedOptions {
  const problems: { option: string; message: string }[] = [];
  const check = (option: string, message: string | undefined) => {
    if (message !== undefined) problems.push({ option, message });
  };
  const { name, skills = [], labels = {}, slots = 4, transport = "auto" } = options;
  const { drainDeadlineMs = 0, resultRetentionMs = 0 } = options;
  const drainGraceMs = drainTimeMs(options);
  const points = options.points ?? slots;
  const kinds = options.kinds ?? Object.keys(options.handlers ?? {});
  check("address", addressProblem(options.address, defaultWorkerPort, parseAddresses));
  if (options.apiAddress !== undefined)
    check("apiAddress", addressProblem(options.apiAddress, defaultApiPort));
  check("key", keyProblem(options.key));
  if (name !== undefined && name.trim() === "")
    check("name", "must not be empty: leave it out for the key's own");
  if (name !== undefined && name.length > 200) check("name", "must have at most 200 characters");
  check("slots", countProblem(slots, 10_000));
  check("points", countProblem(points, 1_000_000));
  check("drainGraceMs", (options.drainGraceMs ?? 0) >= 0 ? undefined : "must be 0 or more");
  check("drainDeadlineMs", drainDeadlineMs >= 0 ? undefined : "must be 0 or more");
  const isRetention = resultRetentionMs >= 0 && resultRetentionMs <= maxRetentionMs;
  check("resultRetentionMs", isRetention ? undefined : "must be 0 to 7 days");
  if (resultRetentionMs > 0 && options.outbox !== undefined)
    check("resultRetentionMs", "needs an outbox of the worker's own");
  if (kinds.length === 0) check("handlers", "must hold at least one handler");
  for (const kind of kinds) {
    if (!namePattern.test(kind)) check("kinds", `has ${JSON.stringify(kind)}: use 1 to 100 of a-z 0-9 . _ -`);
    else if (typeof options.handlers?.[kind] !== "function") check("handlers", `has no function for ${kind}`);
  }
  for (const skill of skills) {
    if (!namePattern.test(skill))
      check("skills", `has ${JSON.stringify(skill)}: use 1 to 100 of a-z 0-9 . _ -`);
  }
  if (Object.keys(labels).length > 32) check("labels", "must be at most 32");
  if (!Object.values(labels).every((value) => typeof value === "string")) check("labels", "must be strings");
  for (const problem of isolationProblems(options.isolation ?? {})) check("isolation", problem);
  if (!transports.includes(transport)) check("transport", "must be auto, stream or poll");
  const isThreaded = options.linkThread ?? options.outbox === undefined;
  if (isThreaded && options.outbox !== undefined) check("outbox", "cannot be shared with a link in a thread");
  if (problems.length > 0) throw new WorkerOptionsError(problems);
  const identity = name ?? keyIdentity(options.key);
  const stateDir = options.stateDir ?? stateDirectory(env, identity);
  const size = { slots, points, drainGraceMs, resultRetentionMs };
  return { identity, skills, kinds, ...size, labels, transport, stateDir, isThreaded };
}

function isolationProblems({
  level = "none",
  kinds = {},
  firstUid = 1,
  paths = [],
}: IsolationOptions): string[] {
  const words = isolationLevels.join(", ");
  const levels = [level, ...Object.values(kinds).map((kind) => kind.level ?? "none")];
  const unknown = levels.filter((one) => !isolationLevels.includes(one));
  return [
    ...unknown.map((one) => `has no level ${JSON.stringify(one)}: use ${words}`),
    ...(Number.isInteger(firstUid) && firstUid >= 1 && firstUid < 2 ** 31
      ? []
      : ["needs a first uid from 1"]),
    ...paths
      .filter((path) => !isAbsolute(path))
      .map((path) => `needs absolute paths, not ${JSON.stringify(path)}`),
  ];
}

function addressProblem(
  address: unknown,
  defaultPort: number,
  read: (text: string, defaultPort: number) => unknown = parseAddress,
): string | undefined {
  if (typeof address !== "string" || address === "") return "must not be empty, e.g. 127.0.0.1:7071";
  try {
    read(address, defaultPort);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

// Never shows the key. A key that was made elsewhere has no form that we know.
function keyProblem(key: unknown): string | undefined {
  if (typeof key !== "string" || key === "") return "must not be empty: make one with `muster worker create`";
  if (!/^[\x21-\x7e]{1,512}$/.test(key))
    return "must be printable ASCII without spaces: was it copied whole?";
  if (key.startsWith("mk_") && !/^mk_[a-z]+(_[A-Za-z0-9-]+){3,}$/.test(key)) {
    return "must have the form mk_<type>_<id>_<secret>_<crc>: was it copied whole?";
  }
  return undefined;
}

function countProblem(value: unknown, most: number): string | undefined {
  const isCount = typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most;
  return isCount ? undefined : `must be a whole number from 1 to ${most.toLocaleString("en")}`;
}
