import { readdirSync, readFileSync } from "node:fs";

/** A process as /proc shows it. */
export interface ProcessStat {
  readonly parent: number;
  /** User and system time so far, in microseconds. */
  readonly cpuMicros: number;
  /** That of the children that it has outlived. */
  readonly reapedMicros: number;
}

/** Reads a line of /proc/PID/stat; a name may hold anything, brackets too. */
export function parseStat(stat: string): ProcessStat {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Ticks of a hundredth of a second.
  const micros = (index: number) => Number(fields[index] ?? 0) * 10_000;
  return {
    parent: Number(fields[1] ?? 0),
    cpuMicros: micros(11) + micros(12),
    reapedMicros: micros(13) + micros(14),
  };
}

/** A size of /proc/PID/status in bytes: `VmRSS`, `VmHWM`; 0 when it is not there. */
export function parseStatusBytes(status: string, name: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1_024;
}

/** CPU time of a process so far, in microseconds; 0 when it is gone or there is no /proc. */
export function cpuMicrosOf(pid: number): number {
  return statOf(pid)?.cpuMicros ?? 0;
}

/** CPU time of a process, its children, and those that it has outlived. */
export function treeCpuMicrosOf(pid: number): number {
  const own = statOf(pid);
  if (own === undefined) return 0;
  const children = processIds()
    .map(statOf)
    .filter((stat) => stat?.parent === pid);
  return children.reduce((sum, child) => sum + (child?.cpuMicros ?? 0), own.cpuMicros + own.reapedMicros);
}

/** Resident memory of a process in bytes: now, and the most it ever had. */
export function memoryOf(pid: number): { readonly rssBytes: number; readonly peakRssBytes: number } {
  const status = textOf(`/proc/${pid}/status`) ?? "";
  return { rssBytes: parseStatusBytes(status, "VmRSS"), peakRssBytes: parseStatusBytes(status, "VmHWM") };
}

/** The parent of a process; 0 when it is gone. */
export function parentOf(pid: number): number {
  return statOf(pid)?.parent ?? 0;
}

function statOf(pid: number): ProcessStat | undefined {
  const text = textOf(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

function processIds(): number[] {
  try {
    return readdirSync("/proc")
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    return [];
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
