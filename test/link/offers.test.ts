import { toBinary } from "@bufbuild/protobuf";
import { ConnectResponseSchema } from "@muster/client/v1/link";
import { expect, test } from "vitest";
import type { Grant } from "../../server/dispatch/link.ts";
import type { ParentResult } from "../../server/domain/parent-results.ts";
import { internShape } from "../../server/domain/rules/shapes.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { offersOf } from "../../server/link/frames-out.ts";

const id = "0192f0c1-2345-7abc-8def-0123456789ab";
const asked = { kind: "k", queue: "q", skills: [], points: 1, pool: null };
const shape = internShape({ ...asked, project: null, target: null, avoid: [], isAlone: false });
const link = {
  linkEpoch: 1,
  workerId: id,
  workerName: "w",
  projectRoots: new Map(),
  publishedSessions: new Map(),
};
const grant = (parentResults: readonly ParentResult[]): Grant => ({
  ...{ fence: { jobId: id, attempt: 1, leaseId: id, workerId: id }, shape, ...asked },
  ...{ title: "", payload: Buffer.from("1"), failures: 0, maxAttempts: 1, leaseTtlMs: 1 },
  ...{ softTimeoutMs: null, hardTimeoutMs: null, isExclusive: false, isAlone: false, labels: {} },
  ...{
    instructions: [],
    documents: [],
    project: null,
    sessionId: null,
    parents: parentResults.map(({ jobId }) => jobId),
    parentResults,
  },
});

test("offers of children whose parents have long names stay below what a link takes", () => {
  const parent = { jobId: id, state: JobState.succeeded, result: Buffer.from("1"), kind: "k".repeat(100) };
  const parents = Array.from({ length: 200 }, () => ({ ...parent, externalId: "字".repeat(200) }));
  const grants = Array.from({ length: 50 }, () => grant(parents));
  const frames = offersOf(link, 1, grants, 10_000);
  const sizes = frames.map((frame) => toBinary(ConnectResponseSchema, frame).length);
  expect(Math.max(...sizes)).toBeLessThan(2 * 1024 * 1024);
});
