import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { killRecordedGroups } from "./process-group.ts";
import { isProcessRunning, readHostBootId, readPidNamespace, readProcess } from "./process-table.ts";

/** The process group of one lease, as it is found again after a crash. */
export interface RecordedGroup {
  readonly leaseId: string;
  /** Of the leader; 0 when the group is recorded before its start, so that only the marker is known. */
  readonly pid: number;
  readonly startTimeTicks: string | null;
  /** The `NAME=value` in the environment of the group's processes. */
  readonly marker: string;
  /** Folder of its control group, where it has one. */
  readonly cgroup?: string;
}

/** What a boot of a worker writes down of itself. */
export interface BootRecordData {
  /** A UUID, fresh at each start. */
  readonly bootId: string;
  /** Changes when the machine restarts; null where unknown. */
  readonly hostBootId: string | null;
  /** Which pids the boot saw: differs between containers on one machine; null where unknown. */
  readonly pidNamespace: string | null;
  /** Of the worker process. */
  readonly pid: number;
  readonly startTimeTicks: string | null;
  /** It ended by itself: what its handlers did is acknowledged or in the outbox. */
  readonly hasEnded: boolean;
  /** The last boots before it that did. */
  readonly endedBoots: readonly string[];
  /** Groups that may run: the boot's own, and those of earlier boots that are not proven gone. */
  readonly groups: readonly RecordedGroup[];
}

/** This boot of the worker in its state directory. */
export interface BootRecord {
  /** What the boot before left; null when there was none, or its record could not be read. */
  readonly previous: BootRecordData | null;
  readonly bootId: string;
  readonly hostBootId: string | null;
  /** The last boots before it that ended by themselves, the newest first; at most 8. */
  readonly endedBoots: readonly string[];
  /**
   * Whether everything that earlier boots started is proven to have ended. What their records name is killed
   * first, for 10 s at most. False also without a record of them: a missing file proves nothing. Never
   * rejects.
   */
  readonly orphansDead: Promise<boolean>;
  /**
   * Records a group, in place of one of the same lease; durable when it resolves. Best called twice: before
   * the start with pid 0, so that a crash between start and record leaves no unknown process, and after it.
   */
  addGroup(group: RecordedGroup): Promise<void>;
  /** Forgets the group of a lease, when all its processes are gone. */
  removeGroup(leaseId: string): Promise<void>;
  /** Writes down that this boot ends by itself: what its handlers did is acknowledged or in the outbox. */
  end(): Promise<void>;
}

/** The state directory belongs to a worker process that runs. */
export class BootRecordInUseError extends Error {
  override readonly name = "BootRecordInUseError";
  readonly code = "BOOT_RECORD_IN_USE";
  /** What to do about it, in one sentence. */
  readonly suggestion = "Stop that worker, or give this one a state directory of its own.";
}

const fileName = "boot.json";
const formatVersion = 1;
/** Most of them never attached, or the newest is the one that a coordinator knows. */
const maxEndedBoots = 8;

/**
 * Begins a boot: reads the record of the one before in this directory (made with mode 0700 when missing),
 * writes its own, and starts to kill what the one before left.
 *
 * One a process and directory: a second one in the same process takes the first for an earlier boot. Throws
 * a BootRecordInUseError while the worker process that wrote the record still runs.
 */
export async function openBootRecord(directory: string): Promise<BootRecord> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const previous = await readRecord(join(directory, fileName));
  if (previous !== null && runsElsewhere(previous))
    throw new BootRecordInUseError(`the state directory ${directory} is in use by process ${previous.pid}`);

  const bootId = randomUUID();
  const hostBootId = readHostBootId();
  const pidNamespace = readPidNamespace();
  const own = { bootId, hostBootId, pidNamespace, pid: process.pid };
  const startTimeTicks = readProcess(process.pid)?.startTimeTicks ?? null;
  const judgement = previous === null ? "unknown" : judge(previous, { hostBootId, pidNamespace });
  const groups = new Map<string, RecordedGroup>();
  // Kept until proven gone: this boot may itself be cut short before.
  if (previous !== null && judgement === "to be killed")
    for (const group of previous.groups) groups.set(group.leaseId, group);

  const endedBoots = [
    ...(previous?.hasEnded ? [previous.bootId] : []),
    ...(previous?.endedBoots ?? []),
  ].slice(0, maxEndedBoots);
  let hasEnded = false;
  const save = coalesce(() =>
    writeRecord(directory, { ...own, startTimeTicks, hasEnded, endedBoots, groups: [...groups.values()] }),
  );
  const addGroup = (group: RecordedGroup) => {
    groups.set(group.leaseId, group);
    return save();
  };
  const removeGroup = async (leaseId: string) => {
    if (groups.delete(leaseId)) await save();
  };
  const end = async () => {
    hasEnded = true;
    await save();
  };
  await save();
  const orphansDead = endOrphans();
  return { previous, bootId, hostBootId, endedBoots, orphansDead, addGroup, removeGroup, end };

  async function endOrphans(): Promise<boolean> {
    if (judgement !== "to be killed") return judgement === "gone";
    const orphans = previous?.groups ?? [];
    try {
      await killRecordedGroups(orphans);
      for (const orphan of orphans) if (groups.get(orphan.leaseId) === orphan) groups.delete(orphan.leaseId);
      if (orphans.length > 0) await save();
      return true;
    } catch {
      // They stay in the record, for the next boot to try.
      return false;
    }
  }
}

type Judgement = "gone" | "to be killed" | "unknown";

function judge(
  previous: BootRecordData,
  now: { readonly hostBootId: string | null; readonly pidNamespace: string | null },
): Judgement {
  if (previous.hostBootId === null || now.hostBootId === null)
    return previous.groups.length === 0 && !isProcessRunning(previous) ? "gone" : "unknown";
  if (previous.hostBootId !== now.hostBootId) return "gone";
  return previous.pidNamespace === now.pidNamespace ? "to be killed" : "unknown";
}

function runsElsewhere(previous: BootRecordData): boolean {
  const isComparable =
    previous.hostBootId === readHostBootId() && previous.pidNamespace === readPidNamespace();
  const isKnown = isComparable && previous.startTimeTicks !== null && previous.pid !== process.pid;
  return isKnown && isProcessRunning(previous);
}

/** A call while a write is under way waits for one that starts after it; calls that wait share that one. */
function coalesce(write: () => Promise<void>): () => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;
  return () => {
    if (waiting !== null) return waiting;
    const turn = last.then(() => {
      waiting = null;
      return write();
    });
    waiting = turn;
    last = turn.catch(() => {});
    return turn;
  };
}

async function writeRecord(directory: string, data: BootRecordData): Promise<void> {
  const path = join(directory, fileName);
  const text = JSON.stringify({ version: formatVersion, ...data });
  const temporary = `${path}.tmp`;
  await using file = await open(temporary, "w", 0o600);
  await file.writeFile(text);
  await file.sync();
  await rename(temporary, path);
  await using parent = await open(directory, "r");
  await parent.sync();
}

async function readRecord(path: string): Promise<BootRecordData | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
  try {
    return parseRecord(JSON.parse(text));
  } catch {
    return null;
  }
}

function parseRecord(value: unknown): BootRecordData | null {
  if (!isObject(value) || value["version"] !== formatVersion || !Array.isArray(value["groups"])) return null;
  const { bootId, hostBootId, pidNamespace, pid, startTimeTicks } = value;
  const groups = value["groups"].map(parseGroup);
  if (typeof bootId !== "string" || !isTextOrNull(hostBootId) || !isTextOrNull(pidNamespace)) return null;
  if (!isPid(pid) || !isTextOrNull(startTimeTicks) || !groups.every((group) => group !== null)) return null;
  // Absent in records of before.
  const hasEnded = value["hasEnded"] === true;
  const ended = Array.isArray(value["endedBoots"]) ? value["endedBoots"] : [];
  const endedBoots = ended.filter((boot) => typeof boot === "string");
  return { bootId, hostBootId, pidNamespace, pid, startTimeTicks, hasEnded, endedBoots, groups };
}

function parseGroup(value: unknown): RecordedGroup | null {
  if (!isObject(value)) return null;
  const { leaseId, pid, startTimeTicks, marker, cgroup } = value;
  if (typeof leaseId !== "string" || typeof marker !== "string") return null;
  if (!isPid(pid) || !isTextOrNull(startTimeTicks)) return null;
  return { leaseId, pid, startTimeTicks, marker, ...(typeof cgroup === "string" ? { cgroup } : {}) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === "string";
}

function isPid(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
