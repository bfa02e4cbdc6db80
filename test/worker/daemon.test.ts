import { describe, expect, test } from "vitest";
import { type DaemonOptions, runDaemon, type SignalSource } from "../../worker/daemon.ts";
import type { AttemptEnd } from "../../worker/engine/messages.ts";
import { WorkerBench } from "../support/worker-bench.ts";
import type { LeaseInit } from "../support/worker-peer.ts";

/** Signals that a test sends. */
function signalSource(): {
  source: SignalSource;
  send(signal: "SIGTERM" | "SIGINT"): void;
  readonly listeners: number;
} {
  const listeners = new Set<(signal: "SIGTERM" | "SIGINT") => void>();
  return {
    source: (listen) => {
      listeners.add(listen);
      return () => listeners.delete(listen);
    },
    send: (signal) => {
      for (const listen of listeners) listen(signal);
    },
    get listeners() {
      return listeners.size;
    },
  };
}

async function daemon(options: Partial<DaemonOptions> = {}) {
  const bench = await WorkerBench.open();
  const signals = signalSource();
  const ready = Promise.withResolvers<void>();
  const lines: string[] = [];
  const exit = runDaemon({
    address: bench.peer.address,
    key: bench.peer.key,
    stateDir: bench.directory,
    env: { PATH: process.env["PATH"] },
    signals: signals.source,
    logger: (level, message) => lines.push(`${level} ${message}`),
    onReady: () => ready.resolve(),
    ...options,
  });
  const offer = (init: LeaseInit) => {
    const lease = bench.peer.lease(init);
    bench.peer.offer(lease);
    return lease.lease;
  };
  const run = (argv: string[]) => offer({ kind: "shell.run", payload: json({ argv }) });
  const end = async () => {
    signals.send("SIGTERM");
    signals.send("SIGTERM");
    await exit;
    await bench[Symbol.asyncDispose]();
  };
  return {
    bench,
    peer: bench.peer,
    signals,
    ready: ready.promise,
    lines,
    exit,
    offer,
    run,
    [Symbol.asyncDispose]: end,
  };
}

const json = (value: unknown) => ({
  content: { case: "data" as const, value: Buffer.from(JSON.stringify(value)) },
});

describe("a daemon", () => {
  test("says when it is ready, and runs the built-in kinds", async () => {
    await using it = await daemon();
    await it.ready;
    expect(it.peer.link.hello.kinds.toSorted()).toEqual(["echo", "shell.run"]);
    const lease = it.offer({ kind: "echo", payload: json({ a: 1 }) });
    const { outcome } = await it.peer.resultOf(lease.leaseId);
    const content = outcome.case === "success" ? outcome.value.result?.content.value : undefined;
    expect(Buffer.from(content instanceof Uint8Array ? content : []).toString()).toBe('{"a":1}');
  });

  test("drains on the first signal: what runs ends, and the code is 0", async () => {
    await using it = await daemon();
    await it.ready;
    const lease = it.run(["sleep", "0.2"]);
    await it.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    it.signals.send("SIGTERM");
    expect((await it.peer.resultOf(lease.leaseId)).outcome.case).toBe("success");
    expect(await it.exit).toBe(0);
    expect(it.signals.listeners).toBe(0);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("gives the jobs back on a second signal, %s, with code %i", async (signal, code) => {
    await using it = await daemon();
    await it.ready;
    const lease = it.run(["sleep", "60"]);
    await it.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    it.signals.send("SIGTERM");
    it.signals.send(signal);
    expect((await it.peer.resultOf(lease.leaseId)).outcome.case).toBe("release");
    expect(await it.exit).toBe(code);
  });

  test("ends with 2 on options that cannot be used, and names them all", async () => {
    await using it = await daemon({ slots: 0, name: "" });
    expect(await it.exit).toBe(2);
    expect(it.lines.filter((line) => line.startsWith("error"))).toHaveLength(3);
  });

  test("ends with 4 on a key that is refused", async () => {
    await using it = await daemon({ key: "mk_worker_wrong_0123456789abcdef_abcdef" });
    expect(await it.exit).toBe(4);
    expect(it.lines).toContain("error The key is not valid. Do otherwise.");
  });

  test("ends with 5 when another process took over its identity, and with 4 when it was revoked", async () => {
    for (const [reason, code] of [
      [3, 5],
      [2, 4],
    ] as const) {
      await using it = await daemon();
      await it.ready;
      it.peer.link.send({ case: "goingAway", value: { reason } });
      expect(await it.exit).toBe(code);
    }
  });
});

describe("a daemon that takes one job", () => {
  test.each<[string, string[], number]>([
    ["succeeded", ["true"], 0],
    ["failed", ["false"], 9],
  ])("that %s ends with its code", async (_name, argv, code) => {
    await using it = await daemon({ once: true });
    await it.ready;
    it.run(argv);
    expect(await it.exit).toBe(code);
    expect(it.peer.results.size).toBe(1);
  });

  test("ends with 20 when there is nothing to do", async () => {
    await using it = await daemon({ once: true, idleMs: 30 });
    expect(await it.exit).toBe(20);
  });

  test("ends with 5 when the lease was lost", async () => {
    await using it = await daemon({ once: true });
    await it.ready;
    const lease = it.run(["sleep", "60"]);
    await it.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    it.peer.link.send({ case: "heartbeatAck", value: { sequence: 0n, lost: [lease] } });
    expect(await it.exit).toBe(5);
  });

  test("tells no more than the one end", async () => {
    const ends: AttemptEnd[] = [];
    await using bench = await WorkerBench.open();
    const worker = bench.worker({ once: { idleMs: 5_000 } });
    worker.onAttemptEnd((end) => ends.push(end));
    await worker.start();
    bench.peer.offer(bench.peer.lease(), bench.peer.lease());
    expect(await worker.closed).toMatchObject({ kind: "finished" });
    expect(ends).toMatchObject([{ outcome: "succeeded", status: "committed" }]);
  });
});
