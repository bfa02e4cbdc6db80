import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { LogStream } from "@muster/client/v1/event";
import { describe, expect, test } from "vitest";
import { defineHandler, type Handler, type JobContext } from "../../worker/context.ts";
import { JobFailure } from "../../worker/failure.ts";
import { Stop } from "../../worker/stop.ts";
import { runHandler } from "../support/handler-run.ts";
import { WorkerBench } from "../support/worker-bench.ts";
import type { LeaseInit } from "../support/worker-peer.ts";

/** Runs a handler that waits; `act` does something to it meanwhile. */
async function meanwhile(
  handler: Handler,
  act: (bench: WorkerBench, lease: { jobId: string; attempt: number; leaseId: string }) => void,
  init: LeaseInit = {},
) {
  await using bench = await WorkerBench.open();
  const started = Promise.withResolvers<void>();
  const handlers = {
    noop: (ctx: JobContext) => {
      started.resolve();
      return handler(ctx);
    },
  };
  const worker = bench.worker({ handlers });
  await worker.start();
  const lease = bench.peer.lease(init);
  bench.peer.offer(lease);
  await started.promise;
  act(bench, lease.lease);
  return (await bench.peer.resultOf(lease.lease.leaseId)).outcome;
}

const aborted = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener("abort", () => resolve(signal.reason));
  });

describe("a handler", () => {
  test("sees the job", async () => {
    let seen: unknown;
    const payload = { content: { case: "data" as const, value: Buffer.from('{"n":2}') } };
    const { lease } = await runHandler(
      defineHandler<{ n: number }, number>((ctx) => {
        seen = [ctx.job, ctx.payload.n, ctx.idempotencyKey, ctx.project, ctx.session];
        return ctx.payload.n * 2;
      }),
      {
        payload,
        title: "T",
        failures: 1,
        queue: "q",
        labels: { a: "b" },
        requiredSkills: ["gpu"],
        points: 2,
        project: "p",
        projectRoot: "/r",
        sessionId: "s",
        session: { sessionId: "s", agentSessionId: "a" },
      },
    );
    expect(seen).toEqual([
      {
        id: lease.jobId,
        kind: "noop",
        title: "T",
        attempt: 1,
        failures: 1,
        maxAttempts: 3,
        labels: { a: "b" },
        queue: "q",
        points: 2,
        requiredSkills: ["gpu"],
      },
      2,
      "key-1",
      { name: "p", root: "/r", remoteUrl: null },
      expect.objectContaining({ sessionId: "s", agentSessionId: "a" }),
    ]);
  });

  test("has no project, no working copy and no session where there is none", async () => {
    const seen: unknown[] = [];
    const look = (ctx: JobContext) => void seen.push(ctx.project, ctx.session);
    await runHandler(look);
    // From a coordinator that gives the id of a session alone.
    await runHandler(look, { project: "p", sessionId: "s" });
    expect(seen).toEqual([
      null,
      null,
      { name: "p", root: null, remoteUrl: null },
      expect.objectContaining({ sessionId: "s", project: "p" }),
    ]);
  });

  test("writes to the log", async () => {
    const { bodies, result } = await runHandler((ctx) => {
      ctx.log("plain");
      ctx.log("warn", "careful");
      ctx.log("a\0b\uD800");
      ctx.log.stdout(Uint8Array.of(0x61, 0xc3));
      ctx.log.stdout(Uint8Array.of(0xbc));
      ctx.log.stderr("oops");
      ctx.log.stdout(Uint8Array.of(0xc3));
    });
    const log = bodies.map((body) =>
      body.case === "log" ? [body.value.stream, body.value.level, body.value.text] : [],
    );
    expect(log).toEqual([
      [LogStream.LOG, "info", "plain"],
      [LogStream.LOG, "warn", "careful"],
      [LogStream.LOG, "info", "a\uFFFDb\uFFFD"],
      [LogStream.STDOUT, "", "a"],
      [LogStream.STDOUT, "", "ü"],
      [LogStream.STDERR, "", "oops"],
      [LogStream.STDOUT, "", "\uFFFD"],
    ]);
    expect(result.lastSequence).toBe(7n);
  });

  test("cuts long text into pieces", async () => {
    const { bodies } = await runHandler((ctx) => ctx.log("ü".repeat(40_000)));
    const texts = bodies.map((body) => (body.case === "log" ? body.value.text : ""));
    expect(texts.map((text) => Buffer.byteLength(text))).toEqual([65_536, 14_464]);
    expect(texts.join("")).toBe("ü".repeat(40_000));
  });

  test("reports progress, partial results and messages", async () => {
    const { bodies } = await runHandler((ctx) => {
      ctx.progress(7, "x".repeat(300));
      ctx.partial({ half: true });
      ctx.message("look");
    });
    const [progress, partial, message] = bodies;
    expect(progress).toMatchObject({
      case: "progress",
      value: { fraction: 1, message: `${"x".repeat(199)}…` },
    });
    const content = partial?.case === "partial" ? partial.value.content.value : undefined;
    expect(Buffer.from(content instanceof Uint8Array ? content : []).toString()).toBe('{"half":true}');
    expect(message).toEqual({ case: "message", value: "look" });
  });

  test("tells events of its own, and refuses such as nobody could be told", async () => {
    const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));
    const refused = [
      ["Deploy done", null],
      ["", null],
      ["a".repeat(101), null],
      ["a", "x".repeat(65_535)],
      ["a", nested(61)],
      ["a", { text: "\0" }],
      ["a", 1n],
    ] as const;
    const codes: string[] = [];
    const { bodies } = await runHandler((ctx) => {
      ctx.event("deploy.done", { to: "web-1" });
      ctx.event("a", nested(60));
      ctx.event("a", "x".repeat(65_534));
      ctx.event("0");
      for (const [name, body] of refused) {
        try {
          ctx.event(name, body);
        } catch (error) {
          codes.push(error instanceof JobFailure ? error.code : String(error));
        }
      }
    });
    const told = bodies.map((body) => (body.case === "event" ? body.value.name : body.case));
    expect(told).toEqual(["deploy.done", "a", "a", "0"]);
    expect(bodies[0]).toMatchObject({
      case: "event",
      value: { body: { content: { case: "data", value: Buffer.from('{"to":"web-1"}') } } },
    });
    expect(codes).toEqual([
      ...Array(3).fill("EVENT_NAME_INVALID"),
      "EVENT_TOO_LARGE",
      "EVENT_TOO_DEEP",
      "EVENT_HAS_NUL",
      "EVENT_NOT_JSON",
    ]);
  });

  test("says nothing more once it has ended", async () => {
    let kept: JobContext | undefined;
    const { result } = await runHandler((ctx) => {
      kept = ctx;
      ctx.log("in time");
    });
    kept?.log("too late");
    expect(result.lastSequence).toBe(1n);
  });

  test("names the pull request of its result", async () => {
    const { outcome } = await runHandler((ctx) => ctx.pullRequest("https://example.org/1"));
    expect(outcome).toMatchObject({ case: "success", value: { prUrl: "https://example.org/1" } });
  });

  test("parks, releases, and fails as it says", async () => {
    const parked = await runHandler((ctx) => ctx.park({ reason: "quota", wakeAfterMs: 60_000 }));
    expect(parked.outcome).toMatchObject({
      case: "park",
      value: { reason: "quota", wakeAfter: { seconds: 60n }, pool: false },
    });
    const until = new Date(Date.now() + 90_000);
    const spent = await runHandler((ctx) => ctx.park({ reason: "quota", until, pool: true }));
    expect(spent.outcome).toMatchObject({ case: "park", value: { pool: true } });
    const { value } = spent.outcome.case === "park" ? spent.outcome : {};
    expect([89n, 90n]).toContain(value?.wakeAfter?.seconds);
    const past = await runHandler((ctx) => ctx.park({ reason: "quota", until: new Date(0) }));
    expect(past.outcome).toMatchObject({ value: { wakeAfter: { seconds: 0n } } });
    const pinned = await runHandler((ctx) => ctx.park({ reason: "a question", session: "s" }));
    expect(pinned.outcome).toMatchObject({ case: "park", value: { sessionId: "s" } });
    const released = await runHandler((ctx) => ctx.release("not here"));
    expect(released.outcome).toMatchObject({ case: "release", value: { reason: "not here" } });
    const failed = await runHandler(() =>
      Promise.reject(new JobFailure("no", { code: "NEVER", retryable: false, retryAfterMs: 5 })),
    );
    expect(failed.outcome).toMatchObject({
      case: "failure",
      value: { retryable: false, error: { code: "NEVER" } },
    });
  });

  test.each([
    ["is not JSON", () => 1n, "RESULT_NOT_JSON"],
    ["is too large", () => "x".repeat(1024 * 1024), "RESULT_TOO_LARGE"],
    ["holds a NUL", () => "\0", "RESULT_HAS_NUL"],
  ])("whose result %s fails for good", async (_name, handler, code) => {
    expect((await runHandler(handler)).outcome).toMatchObject({
      case: "failure",
      value: { retryable: false, error: { code } },
    });
  });

  test("whose payload is not JSON fails for good", async () => {
    const payload = { content: { case: "data" as const, value: Buffer.from("{") } };
    const { outcome } = await runHandler((ctx) => ctx.payload, { payload });
    expect(outcome).toMatchObject({
      case: "failure",
      value: { retryable: false, error: { code: "PAYLOAD_NOT_JSON" } },
    });
  });
});

describe("a request to stop", () => {
  test("aborts the signal with a reason that says why", async () => {
    let reason: unknown;
    const outcome = await meanwhile(
      async (ctx) => {
        reason = await aborted(ctx.signal);
        throw reason;
      },
      (bench, lease) =>
        bench.peer.link.send({
          case: "cancel",
          value: { lease, reason: "enough", grace: durationFromMs(70) },
        }),
    );
    expect(reason).toBeInstanceOf(Stop);
    expect(reason).toMatchObject({ kind: "cancelled", reason: "enough", graceMs: 70 });
    expect(outcome).toMatchObject({ case: "cancelled", value: { killed: false } });
  });

  test("reaches a handler that looks at its signal only later", async () => {
    const gate = Promise.withResolvers<void>();
    const outcome = await meanwhile(
      async (ctx) => {
        await gate.promise;
        ctx.signal.throwIfAborted();
      },
      (bench, lease) => {
        bench.peer.link.send({ case: "cancel", value: { lease } });
        void bench.peer
          .find(({ frame }) => (frame.case === "cancelStatus" ? true : undefined))
          .then(() => gate.resolve());
      },
    );
    expect(outcome.case).toBe("cancelled");
  });

  test("ends the messages", async () => {
    const texts: string[] = [];
    const outcome = await meanwhile(
      async (ctx) => {
        for await (const { text } of ctx.messages) texts.push(text);
        return texts;
      },
      (bench, lease) => {
        const say = (messageId: string, text: string) =>
          bench.peer.link.send({ case: "message", value: { lease, messageId, text } });
        say("1", "go left");
        say("1", "go left");
        say("2", "go right");
        bench.peer.link.send({ case: "cancel", value: { lease } });
      },
    );
    expect(texts).toEqual(["go left", "go right"]);
    expect(outcome.case).toBe("success");
  });

  test("comes at the hard timeout, and the failure says so", async () => {
    const warned: string[] = [];
    const outcome = await meanwhile(
      async (ctx) => {
        ctx.onSoftTimeout(() => warned.push("soon"));
        const reason = await aborted(ctx.signal);
        ctx.onSoftTimeout(() => warned.push("late"));
        expect(ctx.softTimeout.aborted).toBe(true);
        throw reason;
      },
      () => {},
      { softTimeout: durationFromMs(20), hardTimeout: durationFromMs(60) },
    );
    expect(warned).toEqual(["soon", "late"]);
    expect(outcome).toMatchObject({
      case: "failure",
      value: { timedOut: true, retryable: true, error: { code: "TIMEOUT" } },
    });
  });

  test("comes when the worker stops, and the job is given back", async () => {
    const outcome = await meanwhile(
      async (ctx) => {
        throw await aborted(ctx.signal);
      },
      (bench) => void bench.stopWorkers(0),
    );
    expect(outcome).toMatchObject({ case: "release", value: { reason: "the worker stops" } });
  });
});
