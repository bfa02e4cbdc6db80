import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LeaseRefSchema } from "@muster/client/v1/job_service";
import { ResultSchema, ResultsSchema } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../../worker/engine/messages.ts";
import { PendingResults } from "../../../worker/engine/pending-results.ts";
import { outcomeName, resultOf } from "../../../worker/engine/result.ts";
import type { StopKind } from "../../../worker/stop.ts";
import { MemoryOutbox } from "../../support/worker-link.ts";

const lease = create(LeaseRefSchema, { jobId: "job_1", attempt: 2, leaseId: "lse_1" });
const failed: Outcome = {
  kind: "failed",
  code: "E",
  message: "m",
  detail: "d",
  retryable: false,
  retryAfterMs: 1500,
};
const stopped: Outcome = { kind: "stopped", killed: true, detail: "why" };

describe("a result", () => {
  test.each<[Outcome, StopKind | undefined, string, object]>([
    [
      { kind: "succeeded", result: Buffer.from("{}"), prUrl: "https://x/1" },
      undefined,
      "succeeded",
      { prUrl: "https://x/1" },
    ],
    [
      failed,
      undefined,
      "failed",
      {
        retryable: false,
        error: { code: "E", message: "m", detail: "d" },
        retryAfter: { seconds: 1n, nanos: 500_000_000 },
      },
    ],
    [{ kind: "released", reason: "r" }, undefined, "released", { reason: "r" }],
    [
      { kind: "parked", reason: "r", wakeAfterMs: 2000, isPool: true, session: "s" },
      undefined,
      "parked",
      { reason: "r", wakeAfter: { seconds: 2n }, pool: true, sessionId: "s" },
    ],
    [
      { kind: "parked", reason: "r", wakeAfterMs: undefined, isPool: false, session: "" },
      undefined,
      "parked",
      { reason: "r", pool: false, sessionId: "" },
    ],
    [stopped, "cancelled", "cancelled", { killed: true }],
    [stopped, "shutdown", "released", { reason: "the worker stops" }],
    [stopped, "deadline", "released", {}],
    [
      stopped,
      "timeout",
      "failed",
      { timedOut: true, retryable: true, error: { code: "TIMEOUT", detail: "why" } },
    ],
    [
      stopped,
      "cap",
      "failed",
      {
        timedOut: true,
        retryable: true,
        error: {
          code: "LEASE_EXPIRED",
          message: "The attempt passed the cap of its lease (4h).",
          detail: "why",
        },
      },
    ],
  ])("of %j after %s", (outcome, stopKind, name, value) => {
    const result = resultOf({ lease, outcome, stopKind, timeLeftMs: 14_400_000, lastSequence: 7 });
    const read = fromBinary(ResultSchema, toBinary(ResultSchema, result));
    expect(read).toMatchObject({ lease, resultId: result.resultId, lastSequence: 7n, outcome: { value } });
    expect(outcomeName(read.outcome.case)).toBe(name);
  });

  test.each([0, 100, 20_000, 1_000_000])(
    "of %i bytes is on the wire as it is in the outbox",
    async (size) => {
      const outbox = new MemoryOutbox();
      const results = new PendingResults(outbox, "me");
      const outcome: Outcome = { kind: "succeeded", result: Buffer.alloc(size, "1"), prUrl: "" };
      const result = resultOf({ lease, outcome, stopKind: undefined, timeLeftMs: 0, lastSequence: 0 });
      await new Promise((resolve) => results.add(result, resolve));
      const frame = results.take(1, 0);
      const sent = fromBinary(ResultsSchema, toBinary(ResultsSchema, frame ?? create(ResultsSchema)));
      expect(sent.results).toEqual([fromBinary(ResultSchema, toBinary(ResultSchema, result))]);
      const afterRestart = new PendingResults(outbox, "me").take(1, 0);
      expect(toBinary(ResultsSchema, afterRestart ?? create(ResultsSchema))).toEqual(
        toBinary(ResultsSchema, sent),
      );
    },
  );

  test("frames are split by size, and hold at least one", async () => {
    const results = new PendingResults(new MemoryOutbox(), "");
    const add = (size: number) => {
      const outcome: Outcome = { kind: "succeeded", result: Buffer.alloc(size, "1"), prUrl: "" };
      return new Promise((resolve) =>
        results.add(
          resultOf({ lease, outcome, stopKind: undefined, timeLeftMs: 0, lastSequence: 0 }),
          resolve,
        ),
      );
    };
    for (const size of [600, 600, 5_000, 100]) await add(size);
    const counts = [];
    for (let frame = results.take(1_500, 0); frame !== undefined; frame = results.take(1_500, 0)) {
      counts.push(fromBinary(ResultsSchema, toBinary(ResultsSchema, frame)).results.length);
    }
    expect(counts).toEqual([2, 1, 1]);
  });
});
