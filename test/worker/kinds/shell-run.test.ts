import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { LogStream } from "@muster/client/v1/event";
import { CancelProgress, GoingAwayReason, type Result } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { readShellPayload } from "../../../worker/kinds/shell-payload.ts";
import { shellRun } from "../../../worker/kinds/shell-run.ts";
import { Tail } from "../../../worker/kinds/tail.ts";
import { readProcess } from "../../../worker/process-table.ts";
import { WorkerBench } from "../../support/worker-bench.ts";
import type { LeaseInit } from "../../support/worker-peer.ts";

const workerEnv = {
  PATH: process.env["PATH"],
  LC_ALL: "C",
  SECRET: "hidden",
  SHARED: "seen",
  HOME: "/nowhere",
};

async function open() {
  const bench = await WorkerBench.open();
  const worker = bench.worker({
    handlers: {
      "shell.run": shellRun({ env: workerEnv, envAllow: ["SHARED"], bootRecord: () => worker.bootRecord }),
    },
  });
  await worker.start();
  const submit = (payload: unknown, init: LeaseInit = {}) => {
    const value = Buffer.from(JSON.stringify(payload));
    const lease = bench.peer.lease({
      ...init,
      kind: "shell.run",
      payload: { content: { case: "data", value } },
    });
    bench.peer.offer(lease);
    return lease.lease;
  };
  const text = () =>
    bench.peer.received
      .flatMap(({ request: { frame } }) => (frame.case === "report" ? frame.value.items : []))
      .map(({ body }) => (body.case === "log" ? body.value.text : ""))
      .join("");
  return {
    peer: bench.peer,
    closed: worker.closed,
    submit,
    text,
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

async function run(payload: unknown, init: LeaseInit = {}) {
  await using it = await open();
  const lease = it.submit(payload, init);
  const result = await it.peer.resultOf(lease.leaseId);
  return { ...read(result), text: it.text(), lease };
}

function read({ outcome }: Result) {
  const content = outcome.case === "success" ? outcome.value.result?.content.value : undefined;
  const json = content instanceof Uint8Array ? JSON.parse(Buffer.from(content).toString()) : undefined;
  return { outcome, json };
}

const node = (script: string, ...args: string[]) => ({ argv: [process.execPath, "-e", script, ...args] });

describe("shell.run", () => {
  test("runs a program; its output is the log, the result says how it ended", async () => {
    const { json, text } = await run(node("console.log('out'); console.error('err')"));
    expect(json).toEqual({
      exitCode: 0,
      signal: null,
      stdoutTail: "out\n",
      stderrTail: "err\n",
      durationMs: expect.any(Number),
    });
    expect(text).toContain("out\n");
    expect(text).toContain("err\n");
  });

  test("gives arguments as they are: no shell looks at them", async () => {
    const { json } = await run({ argv: ["echo", "$HOME", "; ls", "*"] });
    expect(json.stdoutTail).toBe("$HOME ; ls *\n");
  });

  test("passes on the allowed environment, what the job asks for, and what the job is", async () => {
    const script = "const { PATH, ...rest } = process.env; console.log(JSON.stringify(rest))";
    const { json, lease } = await run({ ...node(script), env: { OWN: "1", MUSTER_JOB_ID: "forged" } });
    expect(JSON.parse(json.stdoutTail)).toEqual({
      HOME: "/nowhere",
      LC_ALL: "C",
      SHARED: "seen",
      OWN: "1",
      MUSTER_JOB_ID: lease.jobId,
      MUSTER_ATTEMPT: "1",
      MUSTER_IDEMPOTENCY_KEY: "key-1",
      MUSTER_MARK: `${lease.jobId}.1`,
    });
  });

  test("feeds standard input and closes it", async () => {
    expect((await run({ argv: ["cat"], stdin: "häppy" })).json.stdoutTail).toBe("häppy");
    expect((await run({ argv: ["cat"] })).json.stdoutTail).toBe("");
  });

  test("runs where it is told, or at the root of its project", async () => {
    const directory = await realpath(await mkdtemp(join(tmpdir(), "muster-shell-")));
    expect((await run({ argv: ["pwd"], cwd: directory })).json.stdoutTail).toBe(`${directory}\n`);
    const atRoot = await run({ argv: ["pwd"] }, { project: "p", projectRoot: directory });
    expect(atRoot.json.stdoutTail).toBe(`${directory}\n`);
    await rm(directory, { recursive: true });
  });

  test("keeps the end of the output, as much as asked for", async () => {
    const { json } = await run({
      ...node("process.stdout.write('x'.repeat(100000) + 'ünd')"),
      outputTailBytes: 3,
    });
    expect(json.stdoutTail).toBe("nd");
  });

  test("a NUL in the output hurts nobody", async () => {
    const { json } = await run(node("process.stdout.write('a\\0b')"));
    expect(json.stdoutTail).toBe("a\uFFFDb");
  });

  test("another exit code is a failure that may be tried again, with the tail", async () => {
    const { outcome } = await run(node("console.error('it broke'); process.exit(3)"));
    expect(outcome).toMatchObject({
      case: "failure",
      value: {
        retryable: true,
        error: {
          code: "EXIT_NONZERO",
          message: expect.stringContaining("exited with 3"),
          detail: "it broke\n",
        },
      },
    });
  });

  test("unless the job calls it a success", async () => {
    expect((await run({ ...node("process.exit(3)"), okExitCodes: [0, 3] })).json.exitCode).toBe(3);
  });

  test("a death by signal is a failure", async () => {
    const { outcome } = await run(node("process.kill(process.pid, 'SIGKILL')"));
    expect(outcome).toMatchObject({
      case: "failure",
      value: { retryable: true, error: { code: "EXIT_SIGNAL" } },
    });
  });

  test("a program that is not there is a final failure", async () => {
    const { outcome } = await run({ argv: ["no-such-program-anywhere"] });
    expect(outcome).toMatchObject({
      case: "failure",
      value: { retryable: false, error: { code: "COMMAND_NOT_FOUND" } },
    });
  });

  test("a cancel kills the whole group", async () => {
    await using it = await open();
    const child =
      "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log(process.pid + '.')";
    const script =
      "require('node:child_process').spawn(process.execPath, ['-e', process.argv[1]], { stdio: 'inherit' }); setInterval(() => {}, 1000)";
    const lease = it.submit({ argv: [process.execPath, "-e", script, child] });
    await it.peer.until(() => it.text().includes("."));
    it.peer.link.send({ case: "cancel", value: { lease, grace: durationFromMs(200) } });
    const { outcome } = await it.peer.resultOf(lease.leaseId);
    expect(outcome).toMatchObject({ case: "cancelled", value: { killed: true } });
    const childPid = Number.parseInt(it.text(), 10);
    expect(childPid).toBeGreaterThan(1);
    // A zombie that init has not reaped yet runs no more.
    expect(readProcess(childPid)?.isDead ?? true).toBe(true);
  });

  test("the loss of the lease ends the grace of a cancel, and demand rises only when all are dead", async () => {
    await using it = await open();
    const script =
      "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log(process.pid + '.')";
    const lease = it.submit(node(script));
    await it.peer.until(() => it.text().includes("."));
    const pid = Number.parseInt(it.text(), 10);
    const from = it.peer.received.length;
    it.peer.link.send({ case: "cancel", value: { lease, grace: durationFromMs(600_000) } });
    await it.peer.find(({ frame }) => (frame.case === "cancelStatus" ? true : undefined));
    expect(readProcess(pid)?.isDead).toBe(false);
    it.peer.link.send({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
    await it.peer.find(({ frame }) => {
      const isKilled = frame.case === "cancelStatus" && frame.value.progress === CancelProgress.KILLED;
      return isKilled ? true : undefined;
    });
    expect(readProcess(pid)?.isDead ?? true).toBe(true);
    const slots = it.peer.received.slice(from).flatMap(({ request: { demand, frame } }) => {
      const told = frame.case === "heartbeat" ? frame.value.demand : demand;
      return told === undefined ? [] : [told.slots];
    });
    expect(slots).toEqual([...slots.slice(0, -1).map(() => 3), 4]);
  });

  test("a flood of output does not hold the link up; what had to go is marked", async () => {
    await using it = await open();
    const line = `${"x".repeat(99)}\n`;
    const script =
      "const b = Buffer.from(process.argv[1].repeat(5000)); for (let i = 0; i < 40; i++) process.stdout.write(b)";
    const lease = it.submit(node(script, line));
    const result = await it.peer.resultOf(lease.leaseId);
    expect(read(result).json.stdoutTail.endsWith(line)).toBe(true);
    const items = () =>
      it.peer.received.flatMap(({ request: { frame } }) =>
        frame.case === "report" ? frame.value.items : [],
      );
    await it.peer.until(() => items().at(-1)?.sequence === result.lastSequence);
    let next = 1;
    for (const { sequence, body } of items()) {
      expect(body.case === "gap" ? Number(body.value.fromSequence) : Number(sequence)).toBe(next);
      next = Number(sequence) + 1;
    }
  });

  test("knows its timeouts from the start, and the log warns at the soft one without touching it", async () => {
    await using it = await open();
    const script =
      "process.stdin.resume(); console.log(process.env.MUSTER_SOFT_TIMEOUT_MS, process.env.MUSTER_HARD_TIMEOUT_MS); setInterval(() => {}, 1000)";
    const timeouts = { softTimeout: durationFromMs(300), hardTimeout: durationFromMs(1500) };
    const lease = it.submit(node(script), timeouts);
    const { outcome } = await it.peer.resultOf(lease.leaseId);
    expect(outcome).toMatchObject({ case: "failure", value: { error: { code: "TIMEOUT" } } });
    expect(it.text()).toContain("300 1500\n");
    const warnings = it.peer.received
      .flatMap(({ request: { frame } }) => (frame.case === "report" ? frame.value.items : []))
      .flatMap(({ body }) =>
        body.case === "log" && body.value.stream === LogStream.SYSTEM ? [body.value] : [],
      );
    expect(warnings).toMatchObject([
      {
        text: "soft timeout of 300ms passed; it will be stopped at the hard timeout in 1.2s",
      },
    ]);
  });

  test("has no timeouts in its environment when the job has none", async () => {
    const script = "console.log(Object.keys(process.env).filter((name) => name.includes('TIMEOUT')).length)";
    const env = { MUSTER_SOFT_TIMEOUT_MS: "forged", MUSTER_HARD_TIMEOUT_MS: "forged" };
    expect((await run({ ...node(script), env })).json.stdoutTail).toBe("0\n");
  });

  test("a hard timeout kills it, and the failure says so", async () => {
    const { outcome } = await run({ argv: ["sleep", "60"] }, { hardTimeout: durationFromMs(100) });
    expect(outcome).toMatchObject({ case: "failure", value: { timedOut: true, error: { code: "TIMEOUT" } } });
  });
});

test("a worker that is sent away has ended only when its programs have", async () => {
  await using it = await open();
  const lease = it.submit(
    node("process.on('SIGTERM', () => {}); console.log(process.pid + '.'); setInterval(() => {}, 1000)"),
  );
  await it.peer.until(() => it.text().includes("."));
  it.peer.link.send({ case: "cancel", value: { lease, grace: durationFromMs(300) } });
  it.peer.link.send({ case: "goingAway", value: { reason: GoingAwayReason.REVOKED } });
  expect(await it.closed).toMatchObject({ kind: "revoked" });
  expect(readProcess(Number.parseInt(it.text(), 10))?.isDead ?? true).toBe(true);
});

describe("a payload of shell.run", () => {
  test.each<[unknown, RegExp]>([
    [null, /must be an object like/],
    [[], /must be an object like/],
    [{}, /argv must be a list of strings/],
    [{ argv: [] }, /argv must be a list/],
    [{ argv: [""] }, /argv must be a list/],
    [{ argv: "ls -l" }, /argv must be a list/],
    [{ argv: ["ls", 1] }, /argv must be a list/],
    [{ command: "ls -l" }, /there is no command: give argv, a list, because no shell runs it/],
    [{ argv: ["ls"], cwd: 1 }, /cwd must be a path/],
    [{ argv: ["ls"], env: { A: 1 } }, /env must be an object of strings/],
    [{ argv: ["ls"], env: [] }, /env must be an object of strings/],
    [{ argv: ["ls"], stdin: 1 }, /stdin must be a string/],
    [{ argv: ["ls"], outputTailBytes: -1 }, /outputTailBytes must be/],
    [{ argv: ["ls"], outputTailBytes: 70_000 }, /outputTailBytes must be/],
    [{ argv: ["ls"], okExitCodes: ["0"] }, /okExitCodes must be/],
    [{ argv: ["ls"], arg: 1 }, /"arg" is not a field; known are argv/],
  ])("%j is refused for good", (payload, message) => {
    expect(() => readShellPayload(payload)).toThrow(message);
    expect(() => readShellPayload(payload)).toThrow(
      expect.objectContaining({ code: "PAYLOAD_INVALID", retryable: false }),
    );
  });

  test("has defaults", () => {
    expect(readShellPayload({ argv: ["ls"] })).toEqual({
      argv: ["ls"],
      cwd: undefined,
      env: {},
      stdin: "",
      outputTailBytes: 4096,
      okExitCodes: [0],
      api: false,
    });
  });
});

test("a tail keeps the end over any chunks, whole characters only", () => {
  const tail = new Tail(5);
  for (const byte of Buffer.from("abcdüüü")) tail.push(Uint8Array.of(byte));
  expect(tail.text()).toBe("üü");
  const empty = new Tail(0);
  empty.push(Buffer.from("abc"));
  expect(empty.text()).toBe("");
});
