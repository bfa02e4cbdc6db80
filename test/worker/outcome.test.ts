import { describe, expect, test } from "vitest";
import { JobFailure, ParkSignal, ReleaseSignal } from "../../worker/failure.ts";
import { thrownOutcome } from "../../worker/outcome.ts";
import { Stop } from "../../worker/stop.ts";

const stop = () => new Stop({ kind: "cancelled", reason: "r", graceMs: 1 });

describe("what a handler throws", () => {
  test("a JobFailure says everything itself", () => {
    const failure = new JobFailure("quota spent", {
      code: "QUOTA",
      retryable: false,
      retryAfterMs: 5,
      detail: "tail",
    });
    expect(thrownOutcome(failure, false)).toEqual({
      kind: "failed",
      code: "QUOTA",
      message: "quota spent",
      detail: "tail",
      retryable: false,
      retryAfterMs: 5,
    });
  });

  test("an error is a retryable failure with its stack", () => {
    const outcome = thrownOutcome(new TypeError("bad"), false);
    expect(outcome).toMatchObject({ kind: "failed", code: "HANDLER_ERROR", message: "bad", retryable: true });
    expect(outcome.kind === "failed" && outcome.detail).toContain("outcome.test.ts");
  });

  test("an error's own code is kept when it is one", () => {
    expect(thrownOutcome(Object.assign(new Error("x"), { code: "ENOENT" }), false)).toMatchObject({
      code: "ENOENT",
    });
    expect(thrownOutcome(Object.assign(new Error("x"), { code: 7 }), false)).toMatchObject({
      code: "HANDLER_ERROR",
    });
    expect(thrownOutcome(new JobFailure("x", { code: "no good\n" }), false)).toMatchObject({
      code: "HANDLER_ERROR",
    });
  });

  const unshowable = {
    get [Symbol.toStringTag](): string {
      throw new Error("no");
    },
  };
  test.each([
    ["a string", "why", "why"],
    ["nothing", undefined, "undefined"],
    ["an object", { a: 1 }, "{ a: 1 }"],
    ["an error without a message", new RangeError(), "RangeError"],
  ])("%s is a retryable failure as well", (_name, thrown, message) => {
    expect(thrownOutcome(thrown, false)).toMatchObject({ kind: "failed", message, retryable: true });
  });

  test("even something that cannot be shown", () => {
    expect(thrownOutcome(unshowable, false).kind).toBe("failed");
  });

  test("is cut to the limits of the protocol", () => {
    const outcome = thrownOutcome(
      new JobFailure("ü".repeat(5_000), { detail: `${"a".repeat(20_000)}end` }),
      false,
    );
    if (outcome.kind !== "failed") throw new Error("expected a failure");
    expect(Buffer.byteLength(outcome.message)).toBe(4_096);
    expect(Buffer.byteLength(outcome.detail)).toBe(16_384);
    expect(outcome.detail.endsWith("end")).toBe(true);
  });

  test("park and release are no failures, asked to stop or not", () => {
    for (const isStopping of [false, true]) {
      const parked = thrownOutcome(new ParkSignal("quota", 5, true, "s"), isStopping);
      expect(parked).toEqual({ kind: "parked", reason: "quota", wakeAfterMs: 5, isPool: true, session: "s" });
      expect(thrownOutcome(new ReleaseSignal("later"), isStopping)).toEqual({
        kind: "released",
        reason: "later",
      });
    }
  });

  test("anything thrown after a request to stop is a stop; what it says beyond that is kept", () => {
    const killed = stop();
    killed.killed = true;
    expect(thrownOutcome(stop(), true)).toEqual({ kind: "stopped", killed: false, detail: "" });
    expect(thrownOutcome(killed, true)).toEqual({ kind: "stopped", killed: true, detail: "" });
    expect(thrownOutcome(new DOMException("aborted", "AbortError"), true)).toMatchObject({
      kind: "stopped",
      detail: "",
    });
    const outcome = thrownOutcome(new Error("half done"), true);
    expect(outcome.kind === "stopped" && outcome.detail).toContain("half done");
  });
});
