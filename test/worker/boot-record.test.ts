import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type BootRecordData, openBootRecord, type RecordedGroup } from "../../worker/boot-record.ts";
import { readHostBootId, readProcess } from "../../worker/process-table.ts";

let directory: string;
beforeEach(async () => {
  const root = await mkdtemp(join(tmpdir(), "muster-boot-record-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  directory = join(root, "state");
});

describe("a boot record", () => {
  test("of a first boot names itself, and proves nothing of boots that left no record", async () => {
    const boot = await openBootRecord(directory);
    expect(boot.previous).toBe(null);
    expect(await boot.orphansDead).toBe(false);
    expect(boot.bootId).toMatch(/^[0-9a-f-]{36}$/);
    expect(boot.hostBootId).toBe(readHostBootId());
    expect(await written()).toMatchObject({ bootId: boot.bootId, hostBootId: boot.hostBootId, groups: [] });
    expect((await stat(join(directory, "boot.json"))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect(await readdir(directory)).toEqual(["boot.json"]);
  });

  test("keeps groups by lease until they are removed", async () => {
    const boot = await openBootRecord(directory);
    await boot.addGroup(group("a", { pid: 0, startTimeTicks: null }));
    await boot.addGroup(group("b"));
    await boot.addGroup(group("a"));
    expect((await written()).groups).toEqual([group("a"), group("b")]);
    await boot.removeGroup("a");
    await boot.removeGroup("unknown");
    expect((await written()).groups).toEqual([group("b")]);
  });

  test("is written for all of many that are added and removed at once", async () => {
    const boot = await openBootRecord(directory);
    const leases = Array.from({ length: 50 }, (_, n) => `lease-${n}`);
    await Promise.all(leases.map((leaseId) => boot.addGroup(group(leaseId))));
    expect((await written()).groups.map(({ leaseId }) => leaseId)).toEqual(leases);
    await Promise.all(leases.slice(1).map((leaseId) => boot.removeGroup(leaseId)));
    expect((await written()).groups).toEqual([group("lease-0")]);
  });

  test("says when it could not be written, and is written again later", async () => {
    const boot = await openBootRecord(directory);
    await rm(directory, { recursive: true });
    await expect(boot.addGroup(group("a"))).rejects.toThrow("ENOENT");
    await mkdir(directory);
    await boot.addGroup(group("b"));
    expect((await written()).groups).toEqual([group("a"), group("b")]);
  });
});

describe("boots that ended by themselves", () => {
  test("are told by those after them, the newest first, eight at most", async () => {
    const ended: string[] = [];
    for (let n = 0; n < 10; n++) {
      const boot = await openBootRecord(directory);
      expect(boot.endedBoots).toEqual(ended.slice(0, 8));
      await boot.end();
      ended.unshift(boot.bootId);
    }
  });

  test("are not one that was cut short", async () => {
    const first = await openBootRecord(directory);
    await first.end();
    await openBootRecord(directory);
    expect((await openBootRecord(directory)).endedBoots).toEqual([first.bootId]);
  });

  test("are none in a record of before there were any", async () => {
    const first = await openBootRecord(directory);
    const { hasEnded: _, endedBoots: __, ...old } = await written();
    await writeFile(join(directory, "boot.json"), JSON.stringify(old));
    const second = await openBootRecord(directory);
    expect([second.previous?.bootId, second.endedBoots]).toEqual([first.bootId, []]);
  });
});

describe("a new boot", () => {
  test("kills the groups that the one before recorded, then says that they are dead", async () => {
    const [recorded, marked, stranger] = await Promise.all([
      startProcess("x"),
      startProcess("y"),
      startProcess("z"),
    ]);
    const first = await openBootRecord(directory);
    await first.addGroup(group("x", identity(recorded)));
    await first.addGroup(group("y", { pid: 0, startTimeTicks: null }));
    const second = await openBootRecord(directory);
    expect(second.previous).toMatchObject({ bootId: first.bootId, pid: process.pid });
    expect(second.previous?.groups.map(({ leaseId }) => leaseId)).toEqual(["x", "y"]);
    expect(second.bootId).not.toBe(first.bootId);
    expect(await second.orphansDead).toBe(true);
    expect([recorded, marked, stranger].map(isRunning)).toEqual([false, false, true]);
    expect((await written()).groups).toEqual([]);
  });

  test("keeps in its own record what it has not yet proven dead, beside its own groups", async () => {
    const orphan = await startProcess("x");
    const first = await openBootRecord(directory);
    await first.addGroup(group("x", identity(orphan)));
    const second = await openBootRecord(directory);
    expect((await written()).groups.map(({ leaseId }) => leaseId)).toEqual(["x"]);
    await second.addGroup(group("own"));
    await second.orphansDead;
    expect((await written()).groups).toEqual([group("own")]);
  });

  test("leaves a process alone that only has the pid of a recorded one", async () => {
    const stranger = await startProcess("stranger");
    const first = await openBootRecord(directory);
    const startTimeTicks = String(Number(identity(stranger).startTimeTicks) - 1);
    await first.addGroup(group("x", { ...identity(stranger), startTimeTicks }));
    const second = await openBootRecord(directory);
    expect(await second.orphansDead).toBe(true);
    expect(isRunning(stranger)).toBe(true);
  });

  test("after a restart of the host takes all for dead, and kills nothing", async () => {
    const stranger = await startProcess("x");
    await leaveRecord({ hostBootId: "00000000-0000-0000-0000-000000000000" }, stranger);
    const boot = await openBootRecord(directory);
    expect(await boot.orphansDead).toBe(true);
    expect(isRunning(stranger)).toBe(true);
    expect((await written()).groups).toEqual([]);
  });

  test.each([
    ["in another container", { pidNamespace: "pid:[1]" }],
    ["without a host boot id", { hostBootId: null }],
  ])("after one %s proves nothing, and kills nothing", async (_, change) => {
    const stranger = await startProcess("x");
    await leaveRecord(change, stranger);
    const boot = await openBootRecord(directory);
    expect(await boot.orphansDead).toBe(false);
    expect(boot.previous).toMatchObject(change);
    expect(isRunning(stranger)).toBe(true);
  });

  test.each([
    ["empty", ""],
    ["cut short", '{"version":1,"bootId":"b","hostBootId":nul'],
    ["of another version", JSON.stringify({ ...record(), version: 2 })],
    ["without groups", JSON.stringify({ ...record(), groups: undefined })],
    ["with a group that has no marker", JSON.stringify({ ...record(), groups: [{ leaseId: "x", pid: 1 }] })],
    ["with a negative pid", JSON.stringify({ ...record(), groups: [group("x", { pid: -1 })] })],
    ["of zeros", "\0".repeat(300)],
  ])("takes a record that is %s as no proof", async (_, text) => {
    await mkdir(directory);
    await writeFile(join(directory, "boot.json"), text);
    const boot = await openBootRecord(directory);
    expect(boot.previous).toBe(null);
    expect(await boot.orphansDead).toBe(false);
    expect((await written()).bootId).toBe(boot.bootId);
  });

  test("is refused while the worker of the record runs; after its kill -9 the jobs are killed", async () => {
    const url = (file: string) => JSON.stringify(new URL(`../../worker/${file}.ts`, import.meta.url).href);
    const worker = startScript(`
      const { openBootRecord } = await import(${url("boot-record")});
      const { startProcessGroup } = await import(${url("process-group")});
      const boot = await openBootRecord(${JSON.stringify(directory)});
      const marker = "MUSTER_LEASE=killed";
      const script = "process.on('SIGTERM', () => {}); console.log('ready'); setTimeout(() => {}, 60_000)";
      const group = startProcessGroup({ argv: [process.execPath, "-e", script], env: {}, marker });
      await boot.addGroup({ leaseId: "killed", pid: group.pid, startTimeTicks: group.startTimeTicks, marker });
      group.stdout.once("data", () => console.log(group.pid));
    `);
    const job = Number(await firstLine(worker));
    onTestFinished(() => {
      if (isRunning(job)) process.kill(job, "SIGKILL");
    });
    await expect(openBootRecord(directory)).rejects.toMatchObject({
      code: "BOOT_RECORD_IN_USE",
      message: expect.stringContaining(`process ${worker.pid}`),
    });
    expect(isRunning(job)).toBe(true);
    worker.kill("SIGKILL");
    await once(worker, "exit");
    expect(isRunning(job)).toBe(true);
    const boot = await openBootRecord(directory);
    expect(boot.previous).toMatchObject({ pid: worker.pid });
    expect(await boot.orphansDead).toBe(true);
    expect(isRunning(job)).toBe(false);
  });
});

function group(leaseId: string, change: Partial<RecordedGroup> = {}): RecordedGroup {
  return { leaseId, pid: 4_000_000_000, startTimeTicks: "1", marker: `MUSTER_LEASE=${leaseId}`, ...change };
}

function record(): Record<string, unknown> {
  const own = { bootId: "b", hostBootId: readHostBootId(), pidNamespace: null, pid: 1, startTimeTicks: "0" };
  return { version: 1, ...own, groups: [group("x")] };
}

/** The record that a boot which held one process left, but for some changes. */
async function leaveRecord(change: Partial<BootRecordData>, pid: number): Promise<void> {
  const boot = await openBootRecord(directory);
  await boot.addGroup(group("x", identity(pid)));
  const path = join(directory, "boot.json");
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...change }));
}

async function written(): Promise<BootRecordData> {
  return JSON.parse(await readFile(join(directory, "boot.json"), "utf8"));
}

/** A process with the marker of a lease, as an earlier boot may have left it. */
async function startProcess(leaseId: string): Promise<number> {
  const script = 'console.log("ready"); setTimeout(() => {}, 60_000);';
  const child = startScript(script, { MUSTER_LEASE: leaseId });
  await firstLine(child);
  return child.pid ?? 0;
}

function startScript(script: string, env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error("the process has no output");
  for await (const line of createInterface(child.stdout)) return line;
  throw new Error("the process ended without a line");
}

function identity(pid: number): { pid: number; startTimeTicks: string | null } {
  return { pid, startTimeTicks: readProcess(pid)?.startTimeTicks ?? null };
}

function isRunning(pid: number): boolean {
  const entry = readProcess(pid);
  return entry !== null && !entry.isDead;
}
