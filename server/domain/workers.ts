import { inOrg } from "../store/database.ts";
import { insertWorker, readWorkers } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { alreadyExists, invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { createKey, type KeyContext } from "./keys.ts";
import { textViolations } from "./rules/texts.ts";
import type { OwnerLimits, WeekHours, WorkerLimits } from "./rules/worker-limits.ts";
import type { WorkerState } from "./rules/worker-states.ts";

/** A worker as it is shown. Everything that the worker said of itself is as of its last attachment. */
export interface WorkerView {
  readonly workerId: string;
  readonly name: string;
  readonly state: WorkerState;
  readonly skills: readonly { readonly name: string; readonly digest: string }[];
  readonly kinds: readonly string[];
  readonly slots: number;
  readonly points: number;
  /** Leases that it holds, and their points. */
  readonly leases: number;
  readonly pointsUsed: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly host: string;
  readonly createdAt: Date;
  /** Its last heartbeat; null before its first attachment, like the two below. */
  readonly seenAt: Date | null;
  readonly linkEpoch: number | null;
  readonly transport: "stream" | "poll" | null;
  /** An operator wants it to take nothing new. */
  readonly isDrainRequested: boolean;
  /** Since when, and why, it gets no offers until an operator resumes it. */
  readonly quarantinedAt: Date | null;
  readonly quarantineReason: string | null;
  /** Since when it leaves a cancel without an answer. */
  readonly suspectAt: Date | null;
  /** What it said of itself and did not get, for people. */
  readonly refusals: readonly string[];
  /** `person:…` or `key:…`; empty: nobody's. */
  readonly owner: string;
  readonly ownerPersonId: string | null;
  /** Null: it needs none. */
  readonly approval: "pending" | "newcomer" | "approved" | "rejected" | null;
  /** What the server allows; null: whatever it says of itself. */
  readonly limits: WorkerLimits | null;
  /** The same on top, until it is approved. */
  readonly newcomerLimits: WorkerLimits | null;
  /** How much of it its owner gives, and when; null: all, always. */
  readonly ownerLimits: OwnerLimits | null;
  readonly hours: WeekHours | null;
  readonly isOffHours: boolean;
  /** Open pull requests of its jobs; 0 where they are not limited. */
  readonly openPrs: number;
}

/** A worker by its id or by its name: exactly one of them is given. */
export interface WorkerName {
  readonly workerId: string | null;
  readonly name: string | null;
}

/**
 * Registers a worker and makes its key, whose only scope is `work`.
 *
 * @returns the worker, and the text of its key: here alone.
 */
export async function createWorker(
  c: KeyContext,
  caller: Caller,
  { name }: { readonly name: string },
): Promise<{ readonly worker: WorkerView; readonly key: string }> {
  const violations = textViolations("name", name, { min: 1, max: 100 });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const workerId = c.newId();
  return inOrg(c.db.app, orgId, async (tx) => {
    const owner = caller.actor;
    if (!(await insertWorker(tx, { orgId, workerId, name, owner })))
      throw alreadyExists("NAME_TAKEN", { name });
    const key = await createKey(c, tx, { orgId, workerId, type: "worker", name, scopes: ["work"] });
    await audit(tx, c, caller, {
      action: "worker.create",
      target: encodeId("worker", workerId),
      details: { name, keyId: key.id },
    });
    const [row] = await readWorkers(tx, orgId, { workerId }, c.config.staleMs);
    if (row === undefined) throw new Error("the new worker is not there");
    return { worker: row, key: key.text };
  });
}

/** Reads a worker by its id or by its name: exactly one of them is given. */
export async function getWorker(c: Coordinator, caller: Caller, name: WorkerName): Promise<WorkerView> {
  const { selection, shown } = selectWorker(name);
  const [row] = selection
    ? await inOrg(c.db.app, caller.orgId, (tx) => readWorkers(tx, caller.orgId, selection, c.config.staleMs))
    : [];
  if (row === undefined) throw notFound("WORKER_NOT_FOUND", shown);
  return row;
}

/** How to select a worker, and what to call it when it is not there; null selects none. Throws when it is not one. */
export function selectWorker({ workerId, name }: WorkerName) {
  if ((workerId === null) === (name === null)) {
    throw invalidArgument([{ field: "workerId", message: "or name must be given, and not both" }]);
  }
  if (workerId !== null) return { selection: { workerId }, shown: encodeId("worker", workerId) };
  const shown = name ?? "";
  // Text with NUL is refused by the database; no worker has such a name.
  return { selection: shown.includes("\0") ? null : { name: shown }, shown };
}
