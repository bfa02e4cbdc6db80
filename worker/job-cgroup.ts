import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A control group (cgroup v2) of one job: all that its processes start is in it, whatever session, environment or parent
 * they take.
 */
export interface JobCgroup {
  /** Its folder. */
  readonly path: string;
  /** Runs `start`, of which every process that it starts is in the group from its first moment. */
  enter<T>(start: () => T): T;
  /** The processes in the group itself. */
  pids(): ReadonlySet<number>;
  /** Whether any process is in it, or in a group below. */
  isPopulated(): boolean;
  /** Sends SIGKILL to all of them at once. */
  kill(): void;
  /** Removes it, once it is empty. */
  remove(): void;
}

/** Makes control groups for jobs; undefined where this process may not: no cgroup v2, or no right to its folder. */
export function openCgroups(): (() => JobCgroup) | undefined {
  const own = ownFolder();
  if (own === undefined) return undefined;
  const prefix = `muster-${randomUUID().slice(0, 8)}`;
  let count = 0;
  const make = () => makeGroup(own, join(own, `${prefix}-${++count}`));
  try {
    const tried = make();
    try {
      tried.enter(() => {});
      tried.kill();
    } finally {
      tried.remove();
    }
    return make;
  } catch {
    return undefined;
  }
}

/** Kills what is left in the group of an earlier boot, if it is there. */
export function killCgroup(path: string): void {
  if (!/\/muster-[0-9a-f]{8}-\d+$/.test(path)) return;
  try {
    writeFileSync(join(path, "cgroup.kill"), "1");
    removeFolder(path);
  } catch {
    // Gone with its processes, or not empty yet: a folder that stays does no harm.
  }
}

function makeGroup(own: string, path: string): JobCgroup {
  mkdirSync(path);
  return {
    path,
    enter: (start) => {
      // A new process is in the group of the one that starts it; nothing else of this process runs meanwhile.
      writeFileSync(join(path, "cgroup.procs"), "0");
      try {
        return start();
      } finally {
        writeFileSync(join(own, "cgroup.procs"), "0");
      }
    },
    pids: () => new Set(readOr(join(path, "cgroup.procs")).split("\n").map(Number).filter(Boolean)),
    isPopulated: () => /^populated 1$/m.test(readOr(join(path, "cgroup.events"))),
    kill: () => writeFileSync(join(path, "cgroup.kill"), "1"),
    remove: () => {
      try {
        removeFolder(path);
      } catch {
        // A group with a process that hangs in the kernel stays.
      }
    },
  };
}

function ownFolder(): string | undefined {
  const path = /^0::(\/.*)$/m.exec(readOr("/proc/self/cgroup"))?.[1];
  const mount = readOr("/proc/self/mountinfo")
    .split("\n")
    .find((line) => line.includes(" - cgroup2 "))
    ?.split(" ")[4];
  return path === undefined || mount === undefined ? undefined : join(mount, path);
}

// A group has files that go with it; groups below it are folders.
function removeFolder(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeFolder(join(path, entry.name));
  rmdirSync(path);
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
