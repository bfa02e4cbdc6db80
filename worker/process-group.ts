import { PassThrough, type Readable, type Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { killCgroup } from "./job-cgroup.ts";
import {
  describeStartFailure,
  type Leader,
  ProcessStartError,
  type StartOptions,
  spawnLeader,
} from "./process-start.ts";
import {
  answersSignals,
  type FoundProcesses,
  findProcesses,
  isProcessRunning,
  type ProcessEntry,
  readProcess,
} from "./process-table.ts";

/** How the first process of a group ended: one of the two is set. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How to stop a group. */
export interface StopOptions {
  /** Milliseconds between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /**
   * Ends the grace at once: SIGKILL follows. What has not gone a second later (a process that hangs in the
   * kernel) is given up, and `stop` rejects with the reason of the signal.
   */
  readonly signal: AbortSignal;
}

/**
 * A job's processes: a leader, and all that it started.
 *
 * Belonging to it: the members of the leader's process group and session, every process whose environment
 * carries the marker, and their descendants. A process that took a new session, cleaned its environment and lost its
 * parent, all three, is held by the user that the group alone runs as, by a cgroup, or by a sandbox; without one of them
 * it escapes.
 */
export interface ProcessGroup {
  /** Of the leader, and of its process group and session; 0 when it could not be started. */
  readonly pid: number;
  /** With the pid the identity of the leader; null where there is no `/proc`. */
  readonly startTimeTicks: string | null;
  /**
   * Settles when the leader has exited, also while others keep its output open. Rejects with a
   * ProcessStartError when it could not be started; need not be awaited.
   */
  readonly exited: Promise<ProcessExit>;
  /**
   * Resolves when the leader has exited and nothing of the group is left: what outlives the leader is killed,
   * after the grace of a `stop` under way, else at once. After it stdout and stderr end.
   */
  readonly gone: Promise<void>;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly stdin: Writable;
  /** SIGTERM to all, after the grace SIGKILL; resolves when none is left. "killed" if SIGKILL was needed. */
  stop(options: StopOptions): Promise<"stopped" | "killed">;
}

/** What is kept of a group to kill it after a crash of the worker; pid 0 when only the marker is known. */
export interface ProcessGroupRecord {
  readonly pid: number;
  readonly startTimeTicks: string | null;
  readonly marker: string;
  /** Folder of its control group. */
  readonly cgroup?: string;
}

const firstPollMs = 5;
const longestPollMs = 250;
const unclearLooks = 4;
const abortedWaitMs = 1000;
const recordedWaitMs = 10_000;

/**
 * Starts a process as the leader of a new session and process group; never a shell. Does not throw: an error
 * of the start is in `exited`.
 */
export function startProcessGroup(options: StartOptions): ProcessGroup {
  const started = spawnLeader(options);
  if (started instanceof ProcessStartError) return failedStart(Promise.reject(started));
  if (started.pid !== undefined) return superviseGroup(started, started.pid, options);
  const failure = Promise.withResolvers<never>();
  started.once("error", (cause) => failure.reject(describeStartFailure(options, cause)));
  return failedStart(failure.promise);
}

/**
 * Kills what an earlier boot of the worker left of a group: the group itself if its leader is still there
 * with the recorded start time (a process that only has its pid is left alone), and everything that carries
 * the marker. Resolves when they are gone, with the number of processes killed; rejects with the signal's
 * reason (default: a timeout of 10 s) when some would not go, or when there is no `/proc` to prove it.
 */
export async function killRecordedGroup(
  record: ProcessGroupRecord,
  options: { readonly signal: AbortSignal } = { signal: AbortSignal.timeout(recordedWaitMs) },
): Promise<number> {
  return await killRecordedGroups([record], options);
}

/** As `killRecordedGroup`, for many at the cost of one. */
export async function killRecordedGroups(
  records: readonly ProcessGroupRecord[],
  options: { readonly signal: AbortSignal } = { signal: AbortSignal.timeout(recordedWaitMs) },
): Promise<number> {
  if (records.length === 0) return 0;
  const targets = records.map(({ pid, startTimeTicks, marker }) => ({
    leader: { pid, startTimeTicks },
    trustsGroupWithoutLeader: false,
    marker,
  }));
  for (const { cgroup } of records) if (cgroup !== undefined) killCgroup(cgroup);
  const known = new Map<number, string>();
  await untilNone(async () => {
    options.signal.throwIfAborted();
    const found = await findProcesses(targets, known);
    if (found === null) throw new Error("cannot prove that recorded processes are gone: there is no /proc");
    for (const entry of found.processes) {
      known.set(entry.pid, entry.startTimeTicks);
      signalProcess(entry, "SIGKILL");
    }
    return found;
  });
  return known.size;
}

function superviseGroup(child: Leader, pid: number, options: StartOptions): ProcessGroup {
  const { marker, uid, cgroup } = options;
  const startTimeTicks = readProcess(pid)?.startTimeTicks ?? null;
  const leader = { pid, startTimeTicks };
  const known = new Map<number, string>();
  const exit = Promise.withResolvers<ProcessExit>();
  const killing = Promise.withResolvers<void>();
  /**
   * running, until the leader exits (then killing) or a stop asks (then grace); grace, until its time is up
   * (then killing); both end as gone when nothing is left. Only "killing" sends SIGKILL.
   */
  let phase: "running" | "grace" | "killing" | "gone" = "running";
  let hasExited = false;
  /** Its members hold the number of a group: once there was none, strangers may have it. */
  let isNumberOurs = true;
  let wasKilledByStop = false;

  child.once("exit", (code, signal) => {
    hasExited = true;
    if (phase === "running") phase = "killing";
    exit.resolve({ code, signal });
  });
  // A program that exits without reading its input must not raise an uncaught EPIPE.
  for (const emitter of [child, child.stdin, child.stdout, child.stderr]) emitter.on("error", ignore);
  const gone = endGroup();
  return {
    pid,
    startTimeTicks,
    exited: exit.promise,
    gone,
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    stop,
  };

  async function endGroup(): Promise<void> {
    await Promise.race([exit.promise, killing.promise]);
    await untilNone(async () => {
      const found = await (phase === "killing" ? signalAll("SIGKILL") : find());
      return hasExited ? found : { ...found, isLeft: true };
    });
    phase = "gone";
  }

  async function stop({ graceMs, signal }: StopOptions): Promise<"stopped" | "killed"> {
    const hasGrace = graceMs > 0 && !signal.aborted;
    if (phase === "running" && hasGrace) {
      phase = "grace";
      await signalAll("SIGTERM");
    }
    if (isGrace() && hasGrace) await unlessAborted(signal, graceMs, gone);
    if (phase === "running" || isGrace()) {
      phase = "killing";
      wasKilledByStop = true;
      killing.resolve();
    }
    await orGivenUp(gone, signal);
    return wasKilledByStop ? "killed" : "stopped";
  }

  function isGrace(): boolean {
    return phase === "grace";
  }

  async function find(): Promise<Look> {
    const target = { leader, trustsGroupWithoutLeader: isNumberOurs, marker, uid };
    const members = cgroup === undefined ? {} : { members: () => cgroup.pids() };
    const found = await findProcesses([{ ...target, ...members }], known);
    if (found === null) return { processes: [], isUnclear: false, isLeft: answersSignals(-pid) };
    const isMember = (entry: ProcessEntry) => entry.groupId === pid || entry.sessionId === pid;
    if (hasExited && !found.processes.some(isMember) && isNumberFree()) isNumberOurs = false;
    for (const entry of found.processes) known.set(entry.pid, entry.startTimeTicks);
    return cgroup?.isPopulated() === true ? { ...found, isLeft: true } : found;
  }

  /** Or given away already. Asks the kernel: a look may miss a member that was being forked. */
  function isNumberFree(): boolean {
    const holder = readProcess(pid);
    return holder === null ? !answersSignals(-pid) : holder.startTimeTicks !== startTimeTicks;
  }

  /** Found before signalled: the parent links of what a signal ends are lost. */
  async function signalAll(signal: NodeJS.Signals): Promise<Look> {
    const found = await find();
    if (signal === "SIGKILL") killWhole();
    if (signal === "SIGTERM" && options.isSandbox === true) {
      for (const entry of found.processes) if (entry.pid !== pid) signalProcess(entry, signal);
      return found;
    }
    const members = found.processes.filter((entry) => entry.groupId === pid);
    const isGroupOurs =
      !hasExited || (found.isLeft === true && cgroup === undefined) || members.some(isProcessRunning);
    if (isGroupOurs) signalPid(-pid, signal);
    for (const entry of found.processes) if (entry.groupId !== pid) signalProcess(entry, signal);
    return found;
  }

  function killWhole(): void {
    try {
      cgroup?.kill();
    } catch {
      // The next look decides.
    }
  }
}

/** What one look found; `isLeft` says that something is left that the look could not list. */
type Look = FoundProcesses & { readonly isLeft?: boolean };

async function untilNone(look: () => Promise<Look>): Promise<void> {
  let unclear = 0;
  for (let pollMs = firstPollMs; ; pollMs = Math.min(pollMs * 2, longestPollMs)) {
    const { processes, isUnclear, isLeft } = await look();
    unclear = isUnclear ? unclear + 1 : 0;
    if (processes.length === 0 && isLeft !== true && (!isUnclear || unclear >= unclearLooks)) return;
    await delay(pollMs);
  }
}

async function unlessAborted(signal: AbortSignal, graceMs: number, gone: Promise<void>): Promise<void> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  await Promise.race([gone, delay(graceMs, undefined, { signal: either }).catch(ignore)]);
  done.abort();
}

async function orGivenUp(gone: Promise<void>, signal: AbortSignal): Promise<void> {
  const givenUp = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const start = () => {
    timer = setTimeout(() => givenUp.reject(signal.reason), abortedWaitMs);
  };
  if (signal.aborted) start();
  else signal.addEventListener("abort", start, { once: true });
  try {
    await Promise.race([gone, givenUp.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", start);
  }
}

/** Judges the identity in the same instant, so that a pid given away since the look is left alone. */
function signalProcess(entry: ProcessEntry, signal: NodeJS.Signals): void {
  if (isProcessRunning(entry)) signalPid(entry.pid, signal);
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already, or another user's (a setuid program): the next look decides.
  }
}

function failedStart(error: Promise<never>): ProcessGroup {
  error.catch(ignore);
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
  stdin.resume();
  stdout.end();
  stderr.end();
  return {
    pid: 0,
    startTimeTicks: null,
    exited: error,
    gone: Promise.resolve(),
    stdin,
    stdout,
    stderr,
    stop: async () => "stopped",
  };
}

function ignore(): void {}
