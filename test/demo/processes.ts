import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const lookMs = 20;

/** Whether a process runs. A zombie does not: all that is left of it is an exit code that nobody asked for. */
export async function isRunning(pid: number): Promise<boolean> {
  return !/^[ZX]?$/.test(await stateLetter(pid));
}

/** Waits until none of the processes runs; false when some still do after `withinMs`. */
export async function areGone(pids: readonly number[], withinMs: number): Promise<boolean> {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const running = await Promise.all(pids.map(isRunning));
    if (!running.includes(true)) return true;
    if (performance.now() > giveUpAt) return false;
    await delay(lookMs);
  }
}

/**
 * The processes, save this one, that name the mark in their arguments or environment, or that work in one of the
 * folders or below. Without /proc only the arguments are seen.
 */
export async function findMarked(mark: string, folders: readonly string[]): Promise<number[]> {
  const pids = await processIds();
  if (pids === null) return findByArguments(mark);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const read = (name: string) => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
      const place = await readlink(`/proc/${pid}/cwd`).catch(() => "");
      const isMarked = folders.some((folder) => place === folder || place.startsWith(`${folder}/`));
      if (!isMarked && !(await read("cmdline")).includes(mark) && !(await read("environ")).includes(mark))
        return [];
      return (await isRunning(pid)) ? [pid] : [];
    }),
  );
  return found.flat().filter((pid) => pid !== process.pid);
}

/** Kills processes; those that are gone already are no matter. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Gone since.
    }
  }
}

/** What a process is, for a message: its arguments. */
export async function describeProcess(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return `process ${pid} ${text.replaceAll("\0", " ").replaceAll(/\s+/g, " ").trim().slice(0, 120)}`.trim();
}

/** The most memory that a running process has had in RAM so far, in bytes; null where the system does not say. */
export async function peakMemoryBytes(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** `R`, `S`, `Z`… as ps shows it; empty when there is no such process. */
async function stateLetter(pid: number): Promise<string> {
  if ((await processIds()) === null) {
    const ps = await run("ps", ["-o", "stat=", "-p", String(pid)]).catch(() => ({ stdout: "" }));
    return ps.stdout.trim().slice(0, 1);
  }
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).slice(0, 1);
}

async function processIds(): Promise<number[] | null> {
  const names = await readdir("/proc").catch(() => null);
  return names === null ? null : names.filter((name) => /^\d+$/.test(name)).map(Number);
}

async function findByArguments(mark: string): Promise<number[]> {
  const { stdout } = await run("ps", ["-axww", "-o", "pid=,command="], { maxBuffer: 16 * 1024 * 1024 });
  const lines = stdout.split("\n").filter((line) => line.includes(mark));
  return lines.map((line) => Number.parseInt(line, 10)).filter((pid) => pid !== process.pid);
}
