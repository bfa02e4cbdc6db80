import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";

/** What `/proc/<pid>/stat` says of one process at one moment. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parentPid: number;
  readonly groupId: number;
  readonly sessionId: number;
  /** Clock ticks from the start of the host to the start of the process: with the pid, its identity. */
  readonly startTimeTicks: string;
  /** A zombie: nothing of it runs any more, only its parent has not asked for its exit code. */
  readonly isDead: boolean;
  readonly isKernelThread: boolean;
}

/** A process as it was recorded; the start time is null where there is no `/proc`. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTimeTicks: string | null;
}

/** What to look for: the group that a leader began, and everything that carries a marker. */
export interface ProcessTarget {
  /** Without a start time nothing but the marker is believed. */
  readonly leader: ProcessIdentity;
  /**
   * False: the group id of a leader that is no longer there may belong to strangers by now, so its members
   * count only while the leader itself is there with its start time.
   */
  readonly trustsGroupWithoutLeader: boolean;
  /** One `NAME=value` of the environment. */
  readonly marker: string;
  /** All processes of this user belong to it, too. */
  readonly uid?: number | undefined;
  /** More processes that belong to it, asked when the table has been read. */
  readonly members?: () => ReadonlySet<number>;
}

/** The processes found for some targets in one look at `/proc`. */
export interface FoundProcesses {
  readonly processes: readonly ProcessEntry[];
  /**
   * A process that might belong here had no environment to read: in the middle of an exec, or started with
   * an empty one. Look again before saying that nothing is left.
   */
  readonly isUnclear: boolean;
}

const sliceLength = 256;
const statBytes = 1024;
const kernelThreadFlag = 0x0020_0000;

/** One process, or null when there is none with this pid (or no `/proc`). */
export function readProcess(pid: number): ProcessEntry | null {
  return readStat(pid, Buffer.allocUnsafe(statBytes));
}

/**
 * Whether this very process still runs: same pid and same start time, not a zombie. Without a start time the
 * pid alone decides, so that an unknown process counts as running.
 */
export function isProcessRunning(identity: ProcessIdentity): boolean {
  if (identity.startTimeTicks === null) return answersSignals(identity.pid);
  const entry = readProcess(identity.pid);
  return entry !== null && !entry.isDead && entry.startTimeTicks === identity.startTimeTicks;
}

/** Whether a pid (or, negative, a process group) takes signals from us. */
export function answersSignals(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Changes when the machine restarts; null where it is unknown (no Linux). */
export function readHostBootId(): string | null {
  return readOrNull(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() || null);
}

/** Which set of pids this process sees: differs between containers on one machine. Null where unknown. */
export function readPidNamespace(): string | null {
  return readOrNull(() => readlinkSync("/proc/self/ns/pid"));
}

/**
 * Looks once through `/proc` for all that belongs to the targets: members of a leader's group or session,
 * carriers of a marker, processes in `known` (pid to start time), and all descendants of these. Never this
 * process, and none of its ancestors. Null where there is no `/proc`.
 *
 * Reads in slices between which other work runs; about 10 µs a process on the machine.
 */
export async function findProcesses(
  targets: readonly ProcessTarget[],
  known: ReadonlyMap<number, string>,
): Promise<FoundProcesses | null> {
  const table = await readProcessTable();
  if (table === null) return null;
  const excluded = ancestors(table);
  const groups = trustedGroups(targets, table);
  const markers = new Set(targets.map((target) => target.marker));
  const uids = new Set(targets.flatMap(({ uid }) => uid ?? []));
  const members = new Set(targets.flatMap((target) => [...(target.members?.() ?? [])]));
  const earliestStart = Math.min(...targets.map((target) => Number(target.leader.startTimeTicks ?? 0)));

  const found = new Set<number>();
  let isUnclear = false;
  for (const entry of table.values()) {
    if (excluded.has(entry.pid) || entry.isKernelThread) continue;
    if (groups.has(entry.groupId) || groups.has(entry.sessionId)) found.add(entry.pid);
    else if (known.get(entry.pid) === entry.startTimeTicks || members.has(entry.pid)) found.add(entry.pid);
    else if (uids.size > 0 && uids.has(readUid(entry.pid) ?? -1)) found.add(entry.pid);
    else if (!entry.isDead && Number(entry.startTimeTicks) >= earliestStart) {
      const environment = readEnvironment(entry.pid);
      if (environment === "") isUnclear = true;
      else if (environment?.split("\0").some((pair) => markers.has(pair))) found.add(entry.pid);
    }
  }
  addDescendants(found, excluded, table);
  const processes = [...table.values()].filter((entry) => found.has(entry.pid) && !entry.isDead);
  return { processes, isUnclear };
}

/** Whether any process runs as this user; false where there is no `/proc`. */
export async function hasProcessOf(uid: number): Promise<boolean> {
  const table = (await readProcessTable()) ?? new Map<number, ProcessEntry>();
  return table.values().some((entry) => !entry.isDead && readUid(entry.pid) === uid);
}

async function readProcessTable(): Promise<Map<number, ProcessEntry> | null> {
  const names = readOrNull(() => readdirSync("/proc"));
  const pids = names?.map(Number).filter((pid) => pid > 0) ?? [];
  if (!pids.includes(process.pid)) return null;
  const table = new Map<number, ProcessEntry>();
  const buffer = Buffer.allocUnsafe(statBytes);
  for (const [index, pid] of pids.entries()) {
    if (index % sliceLength === sliceLength - 1) await setImmediate();
    const entry = readStat(pid, buffer);
    if (entry !== null) table.set(pid, entry);
  }
  return table;
}

function readStat(pid: number, buffer: Buffer): ProcessEntry | null {
  const text = readOrNull(() => {
    const file = openSync(`/proc/${pid}/stat`, "r");
    try {
      return buffer.toString("latin1", 0, readSync(file, buffer, 0, buffer.length, 0));
    } finally {
      closeSync(file);
    }
  });
  if (text === null) return null;
  // The second field is the command in parentheses, and may itself contain spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startTimeTicks = fields[19];
  if (state === undefined || startTimeTicks === undefined) return null;
  const threads = Number(fields[17]);
  return {
    pid,
    parentPid: Number(fields[1]),
    groupId: Number(fields[2]),
    sessionId: Number(fields[3]),
    startTimeTicks,
    isDead: state === "X" || (state === "Z" && threads <= 1),
    isKernelThread: (Number(fields[6]) & kernelThreadFlag) !== 0,
  };
}

function readEnvironment(pid: number): string | null {
  return readOrNull(() => readFileSync(`/proc/${pid}/environ`, "utf8"));
}

// The real user: a program with the set-user-ID bit changes only the others.
function readUid(pid: number): number | null {
  const status = readOrNull(() => readFileSync(`/proc/${pid}/status`, "latin1"));
  const uid = /^Uid:\s+(\d+)/m.exec(status ?? "")?.[1];
  return uid === undefined ? null : Number(uid);
}

function ancestors(table: ReadonlyMap<number, ProcessEntry>): Set<number> {
  const pids = new Set([0, 1]);
  for (let pid = process.pid; !pids.has(pid); pid = table.get(pid)?.parentPid ?? 0) pids.add(pid);
  return pids;
}

function trustedGroups(
  targets: readonly ProcessTarget[],
  table: ReadonlyMap<number, ProcessEntry>,
): Set<number> {
  const groups = new Set<number>();
  for (const { leader, trustsGroupWithoutLeader } of targets) {
    if (leader.startTimeTicks === null || leader.pid <= 1) continue;
    const entry = table.get(leader.pid);
    if (entry === undefined ? trustsGroupWithoutLeader : entry.startTimeTicks === leader.startTimeTicks)
      groups.add(leader.pid);
  }
  return groups;
}

function addDescendants(
  found: Set<number>,
  excluded: ReadonlySet<number>,
  table: ReadonlyMap<number, ProcessEntry>,
): void {
  const children = new Map<number, number[]>();
  for (const { pid, parentPid } of table.values()) {
    const siblings = children.get(parentPid);
    if (siblings === undefined) children.set(parentPid, [pid]);
    else siblings.push(pid);
  }
  // A Set iterates over what is added to it meanwhile.
  for (const pid of found) {
    for (const child of children.get(pid) ?? []) if (!excluded.has(child)) found.add(child);
  }
}

function readOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
