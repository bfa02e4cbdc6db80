import { randomUUID } from "node:crypto";
import { claimReady } from "../../server/store/claim.ts";
import { type Call, call } from "../../server/store/statement.ts";

/** The claim of one shape: a job for each slot, without gates. */
export function claimOf(of: {
  readonly org: string;
  readonly shape: string;
  /** Workers, one a job. */
  readonly slots: readonly (string | undefined)[];
  /** The epoch of every link. Default 1. */
  readonly epoch?: number;
}): Call {
  const workers = [...new Set(of.slots)];
  return call(claimReady, {
    org: of.org,
    version: 0,
    shapes: [of.shape],
    queues: ["default"],
    limits: [of.slots.length],
    befores: [0],
    sessions: [null],
    slots: of.slots.map((worker) => workers.indexOf(worker) + 1),
    workers,
    epochs: workers.map(() => of.epoch ?? 1),
    gateShapes: [],
    gateKeys: [],
    nonce: randomUUID(),
    n: 1,
    tally: randomUUID(),
  });
}
