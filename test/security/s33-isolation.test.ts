import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LogStream } from "@muster/client/v1/event";
import { Isolation, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { describe, expect, onTestFinished, test } from "vitest";
import { inheritedDescriptors } from "../../worker/inherited-descriptors.ts";
import { echo } from "../../worker/kinds/echo.ts";
import { shellRun } from "../../worker/kinds/shell-run.ts";
import { readProcess } from "../../worker/process-table.ts";
import type { Worker } from "../../worker/worker.ts";
import { startTestServer } from "../support/coordinator.ts";
import { hasBwrap, isRoot, openShell } from "../support/isolated-shell.ts";

const perl = (script: string) => `perl -e '${script}'`;

describe.skipIf(!hasBwrap)("S33 isolation holds: bwrap", () => {
  test("shows nothing of the host but programs, libraries and harmless settings", async () => {
    await using shell = await openShell({ level: "bwrap" });
    const secret = join(shell.bench.directory, "open-to-all");
    await writeFile(secret, "host secret");
    await chmod(shell.bench.directory, 0o755);
    const said = await shell.script(`cat ${secret}; ls -A /root /home /tmp /var /run /opt /srv
      cat /etc/shadow; ls -la / /home; cat /proc/1/environ | tr "\\0" "\\n"`);
    expect(said).not.toContain("host secret");
    expect(said).toContain(`${secret}: No such file or directory`);
    expect(said).toContain("/etc/shadow: No such file");
    for (const folder of ["/root", "/var", "/run", "/srv"])
      expect(said).toMatch(new RegExp(`'?${folder}'?: No such`));
    expect(said).toContain("job\n");
  });

  test("can change nothing but its home, its temporary files and the working copy of its project", async () => {
    const root = await mkdtemp(join(tmpdir(), "muster-project-"));
    const other = await mkdtemp(join(tmpdir(), "muster-other-"));
    onTestFinished(async () => {
      for (const folder of [root, other]) await rm(folder, { recursive: true, force: true });
    });
    await chmod(root, 0o777);
    const linkedProjects = [
      { project: "p", root, remoteUrl: "https://example.test/p.git" },
      { project: "o", root: other, remoteUrl: "https://example.test/o.git" },
    ];
    await using shell = await openShell({ level: "bwrap" }, { linkedProjects });
    const init = { project: "p", projectRoot: root };
    const said = await shell.script(
      `pwd; for f in /x /usr/x /etc/x /dev/x /home/x ${other}/x; do touch $f; done
      for f in ~/x /tmp/x ./made; do touch $f && echo "made $f"; done`,
      init,
    );
    expect(said.startsWith(`${root}\n`)).toBe(true);
    expect(said.match(/Read-only file system/g)).toHaveLength(5);
    expect(said).toContain(`${other}/x': No such file`);
    expect(said).toContain("made /home/job/x\nmade /tmp/x\nmade ./made\n");
    expect(await readFile(join(root, "made"), "utf8")).toBe("");
    // A root that the coordinator names and this worker never published is not there.
    expect(await shell.script("pwd", { project: "p", projectRoot: "/root" })).not.toContain("/root\n");
  });

  test("has no network and no socket of the host, unless its kind is given the network", async () => {
    const server = await listening(
      createServer((socket) => socket.end("reached")),
      { port: 0, host: "127.0.0.1" },
    );
    const name = `muster-test-${crypto.randomUUID()}`;
    await listening(
      createServer((socket) => socket.end("reached")),
      `\0${name}`,
    );
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const tries = `ls /var/run/docker.sock /run/docker.sock /run/dbus/system_bus_socket /run/user
      ${perl(`use Socket; socket(S, AF_INET, SOCK_STREAM, 0); print connect(S, sockaddr_in(${port}, inet_aton("127.0.0.1"))) ? "in " . <S> : "no: $!", "\\n"`)}
      ${perl(`use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); print connect(S, pack("Sa*", AF_UNIX, "\\0${name}")) ? "un " . <S> : "no: $!", "\\n"`)}
      ls /sys/class/net /proc/self/net/dev >/dev/null; grep -c : /proc/self/net/dev`;
    await using closed = await openShell({ level: "bwrap" });
    const said = await closed.script(tries);
    expect(said).not.toContain("reached");
    expect(said.match(/^no: /gm)).toHaveLength(2);
    expect(said.match(/No such file/g)?.length).toBeGreaterThanOrEqual(4);
    expect(said).toMatch(/^1$/m);
    await using open = await openShell({ level: "bwrap", kinds: { "shell.run": { network: true } } });
    expect(await open.script(tries)).toContain("in reached");
  });

  test("sees, signals and traces no process but its own", async () => {
    const victim = spawn("sleep", ["1000"], { stdio: "ignore" });
    onTestFinished(() => void victim.kill("SIGKILL"));
    await using shell = await openShell({ level: "bwrap" });
    const said = await shell.script(`ls /proc | grep -c "^[0-9]"
      kill -9 ${victim.pid}; kill -9 -- -1
      ${perl(`print syscall(101, 16, ${victim.pid}, 0, 0), " $!\\n"`)}`);
    expect(Number(said.split("\n")[0])).toBeLessThan(10);
    expect(readProcess(victim.pid ?? 0)?.isDead).toBe(false);
  });

  test.skipIf(process.arch !== "x64")("pushes no input into a terminal, and reaches no keyring", async () => {
    await using shell = await openShell({ level: "bwrap" });
    const said = await shell.script(`ls -l /dev/tty; cat < /dev/tty
      ${perl(`$b = "x"; print "sti ", ioctl(STDIN, 0x5412, $b) // "refused: $!", "\\n"`)}
      ${perl(`print "keyctl ", syscall(250, 0, -3, 0), " $!\\n"`)}
      ${perl(`print "bpf ", syscall(321, 0, 0, 0), " $!\\n"`)}
      unshare -Ur true; mount -t tmpfs none /tmp; chroot / true; grep -E "NoNewPrivs|CapEff|Seccomp:" /proc/self/status`);
    expect(said).toContain("No such device or address");
    expect(said).toContain("sti refused: Operation not permitted");
    expect(said).toContain("keyctl -1 Operation not permitted");
    expect(said).toContain("bpf -1 Operation not permitted");
    expect(said).toMatch(/unshare failed/);
    expect(said).toMatch(/CapEff:\s+0000000000000000\nNoNewPrivs:\s+1\nSeccomp:\s+2/);
  });

  test("ends a fork bomb and an endless file at its limits", async () => {
    await using shell = await openShell({ level: "bwrap" });
    const forks = await shell.script(
      perl(
        '$n = 0; while (defined($p = fork)) { if (!$p) { sleep 60; exit } $n++; last if $n > 2000 } print "$n: $!\\n"',
      ),
    );
    expect(forks).toMatch(/^\d{3}: Resource temporarily unavailable$/m);
    expect(Number.parseInt(forks, 10)).toBeLessThan(512);
    const sizes = await shell.script(
      "df -B1 --output=size /tmp /home/job /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1M count=10240; rm -f /dev/shm/x",
    );
    expect(sizes).toMatch(new RegExp(`${1024 ** 3}\\s+${1024 ** 3}\\s+${64 * 1024 ** 2}`));
    expect(sizes).toContain("No space left on device");
  });

  test("keeps what a job asks for its environment inside", async () => {
    await using shell = await openShell({ level: "bwrap" });
    const env = { LD_PRELOAD: "/nowhere/evil.so", A: "b c=d", HOME: "/tmp" };
    const { json } = await shell.run({ argv: ["sh", "-c", "env; ls -l /proc/self/fd"], env });
    expect(json.stdoutTail).toContain("LD_PRELOAD=/nowhere/evil.so\n");
    expect(json.stdoutTail).toContain("A=b c=d\n");
    expect(json.stdoutTail).toContain("HOME=/tmp\n");
    // Its own three, and the folder that ls reads: no descriptor of the worker's, nor of the sandbox's making.
    const left = inheritedDescriptors().map(String);
    const seen = [...json.stdoutTail.matchAll(/ (\d+) -> /g)].map(([, descriptor]) => descriptor);
    expect(seen.filter((one) => !left.includes(one))).toEqual(["0", "1", "2", "3"]);
  });

  test("gives a stopped program its grace, and leaves nothing behind", async () => {
    await using shell = await openShell({ level: "bwrap" });
    const lease = shell.submit({
      argv: [
        "sh",
        "-c",
        "trap 'echo tidied; exit 0' TERM; (setsid sleep 1000 &) ; echo up; while :; do sleep 0.1; done",
      ],
    });
    await shell.peer.until(() => shell.text().includes("up"));
    shell.peer.link.send({ case: "cancel", value: { lease, grace: { seconds: 30n, nanos: 0 } } });
    const { outcome } = await shell.peer.resultOf(lease.leaseId);
    expect(outcome.case).toBe("cancelled");
    await shell.peer.until(() => shell.text().includes("tidied"));
  });

  test("says its level in the log and with the result", async () => {
    await using shell = await openShell({ level: "bwrap" });
    await shell.run({ argv: ["true"] });
    const system = shell
      .items()
      .flatMap(({ body }) =>
        body.case === "log" && body.value.stream === LogStream.SYSTEM ? [body.value.text] : [],
      );
    expect(system).toEqual(["runs in a sandbox, without a network"]);
  });
});

describe.skipIf(!isRoot)("S33 isolation holds: uid", () => {
  test("is a user that nothing else runs as, with no way to another one", async () => {
    await using shell = await openShell({ level: "uid" });
    const said = await shell.script(`id; pwd; stat -c %u . ; echo $HOME; su -c id; touch /usr/x
      grep -E "NoNewPrivs|CapEff|Groups" /proc/self/status; cat /etc/shadow`);
    expect(said).toMatch(/^uid=606\d\d gid=606\d\d groups=606\d\d$/m);
    expect(said).not.toContain("uid=0");
    expect(said).toMatch(/CapEff:\s+0000000000000000\nNoNewPrivs:\s+1/);
    expect(said).toContain("/etc/shadow: Permission denied");
    const home = said.split("\n")[1] ?? "";
    expect(home).toMatch(/muster-job-/);
    // It goes with the job.
    await expect(readFile(join(home, ".."))).rejects.toThrow();
    await expect(readFile(home)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("is another one for each job at a time", async () => {
    await using shell = await openShell({ level: "uid" });
    const ids = await Promise.all([1, 2, 3].map(() => shell.script("id -u; sleep 0.5")));
    expect(new Set(ids).size).toBe(3);
  });

  test("enters no folder that is closed to it", async () => {
    await using shell = await openShell({ level: "uid" });
    const closed = join(shell.bench.directory, "state-1", "outbox");
    const { outcome } = await shell.run({ argv: ["ls"], cwd: closed });
    expect(outcome).toMatchObject({ case: "failure", value: { error: { code: "EXIT_NONZERO" } } });
    expect(JSON.stringify(outcome, (_, value) => (typeof value === "bigint" ? 0 : value))).toContain(
      "Permission denied",
    );
  });
});

describe("S33 isolation holds: a level that cannot be had", () => {
  test("stops the worker before it attaches", async () => {
    const before = process.getuid;
    process.getuid = () => 1000;
    onTestFinished(() => {
      if (before !== undefined) process.getuid = before;
    });
    await expect(openShell({ level: "uid" })).rejects.toThrow(
      "isolation level uid cannot be had here: the worker is not root. Run it as root, or use level bwrap.",
    );
  });

  test.skipIf(!hasBwrap)("is told by the very way in which a job would start", async () => {
    await expect(openShell({ level: "bwrap", paths: ["/no/such/folder"] })).rejects.toThrow(
      /cannot be had here: .*no such folder|\/no\/such\/folder/i,
    );
  });

  test("is never taken for another: the strongest that is asked for counts", async () => {
    const { isolationOf, strongerKinds } = await import("../../worker/isolation.ts");
    expect(isolationOf("a", { level: "bwrap", kinds: { a: { level: "none" } } }).level).toBe("bwrap");
    expect(isolationOf("a", { level: "uid", kinds: { a: { level: "bwrap" } } }).level).toBe("bwrap");
    expect(isolationOf("a", {})).toEqual({ level: "none", hasNetwork: false });
    expect(strongerKinds({ a: { level: "uid" } }, { a: { level: "none", network: true } })).toEqual({
      a: { level: "uid", network: true },
    });
  });
});

describe("S33 isolation holds: the level", () => {
  test("is shown on the attempt, of a success and of a failure, and not where no program ran", {
    timeout: 60_000,
  }, async () => {
    const muster = await startTestServer();
    onTestFinished(() => muster.close());
    const level = hasBwrap ? "bwrap" : "none";
    const worker: Worker = await muster.startWorker({
      isolation: { level },
      handlers: {
        echo,
        "shell.run": shellRun({
          env: { PATH: "/usr/bin:/bin" },
          envAllow: [],
          bootRecord: () => worker.bootRecord,
          isolation: () => worker.isolation,
        }),
      },
    });
    const jobs = muster.client(JobService);
    const shown = async (kind: string, payload: unknown, state: JobState) => {
      const value = Buffer.from(JSON.stringify(payload));
      const job = { kind, payload: { content: { case: "data" as const, value } }, retry: { maxAttempts: 1 } };
      const { jobId } = await jobs.submitJob({ job });
      await muster.reach(jobId, state);
      const { attempts } = await jobs.listAttempts({ jobId });
      return attempts.map(({ isolation }) => isolation);
    };
    const expected = hasBwrap ? Isolation.BWRAP : Isolation.NONE;
    expect(await shown("shell.run", { argv: ["true"] }, JobState.SUCCEEDED)).toEqual([expected]);
    expect(await shown("shell.run", { argv: ["false"] }, JobState.DEAD)).toEqual([expected]);
    expect(await shown("echo", {}, JobState.SUCCEEDED)).toEqual([Isolation.UNSPECIFIED]);
  });
});

async function listening(server: Server, at: Parameters<Server["listen"]>[0] | string): Promise<Server> {
  server.listen(at);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return server;
}
