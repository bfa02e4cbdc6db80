import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { IsolationLevel } from "../../worker/isolation.ts";
import { openCgroups } from "../../worker/job-cgroup.ts";
import { readProcess } from "../../worker/process-table.ts";
import { hasBwrap, isRoot, openShell } from "../support/isolated-shell.ts";

// Two forks, a session of its own, deaf to SIGTERM and SIGHUP, a clean environment: nothing ties it to its job any more.
const daemon = (seconds: number) => `perl -e '
  use POSIX; exit 0 if fork; POSIX::setsid(); exit 0 if fork;
  $SIG{TERM} = $SIG{HUP} = $SIG{INT} = "IGNORE"; close STDIN; close STDOUT; close STDERR;
  exec "/usr/bin/env", "-i", "/bin/sleep", "${seconds}"'`;

// Deaf, too, but otherwise where it was born; and one that forks on and on.
const others = (seconds: number) => `
  (trap "" TERM; exec sleep ${seconds}) &
  setsid sh -c 'trap "" TERM; while :; do sleep ${seconds} & sleep 0.05; kill $! 2>/dev/null; done' &`;

function survivors(seconds: number): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      if (!(pid > 0) || (readProcess(pid)?.isDead ?? true)) return false;
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(String(seconds));
      } catch {
        return false;
      }
    });
}

/** Which ends a job that does all this at once; tells what is left of it, and how long that took. */
async function endedBy(level: IsolationLevel, end: "lost lease" | "cancel" | "exit") {
  const seconds = 1_000_000 + Math.floor(Math.random() * 1_000_000_000);
  await using shell = await openShell({ level });
  const last = end === "exit" ? "sleep 0.5" : "trap '' TERM; while :; do sleep 0.2; done";
  const script = `${daemon(seconds)}\n${others(seconds)}\nsleep 0.3; echo up\n${last}`;
  const lease = shell.submit({ argv: ["sh", "-c", script] });
  await shell.peer.until(() => shell.text().includes("up"));
  const before = survivors(seconds).length;
  const startedMs = performance.now();
  const { link } = shell.peer;
  if (end === "lost lease") link.send({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
  if (end === "cancel") link.send({ case: "cancel", value: { lease, grace: { seconds: 1n, nanos: 0 } } });
  if (end === "lost lease") {
    await shell.peer.find(({ frame }) =>
      frame.case === "cancelStatus" && frame.value.progress >= 2 ? true : undefined,
    );
  } else await shell.peer.resultOf(lease.leaseId);
  return { before, after: survivors(seconds), tookMs: performance.now() - startedMs };
}

const levels = [
  ["none", openCgroups() !== undefined],
  ["uid", isRoot],
  ["bwrap", hasBwrap],
] as const;

describe("S34 the whole process tree dies with the lease", () => {
  for (const [level, isHere] of levels) {
    test.skipIf(!isHere).each(["lost lease", "cancel", "exit"] as const)(
      `level ${level}: at its %s`,
      async (end) => {
        const { before, after, tookMs } = await endedBy(level, end);
        // The one that nothing ties to the job, and one of the others at least.
        expect(before).toBeGreaterThanOrEqual(3);
        expect(after).toEqual([]);
        expect(tookMs).toBeLessThan(10_000);
      },
    );
  }
});
