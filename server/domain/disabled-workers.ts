import { inOrg, type Tx } from "../store/database.ts";
import {
  deleteWorker,
  disableWorkerRow,
  enableWorkerRow,
  lockLinkRow,
  readLeasesToEnd,
} from "../store/disabled-workers.ts";
import { readWorkerKeyIds } from "../store/keys.ts";
import { lockSessions } from "../store/sessions.ts";
import { type LockedWorker, lockWorkerRow, readWorkers } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { WorkerCommand } from "./commands.ts";
import type { Caller, Coordinator } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { distrustKeys, type KeyContext } from "./keys.ts";
import { endLeases } from "./leases.ts";
import { textViolations } from "./rules/texts.ts";
import { WorkerState } from "./rules/worker-states.ts";
import { tellWorkerAct } from "./told-events.ts";
import { actsAsOwner } from "./worker-owners.ts";
import { selectWorker, type WorkerView } from "./workers.ts";

/** What these verbs work with. */
export type WorkerContext = Coordinator & Pick<KeyContext, "verifiedKeys" | "streams">;

/**
 * Disables a worker: its key is refused (here at once, elsewhere within 1 s), no claim that commits after this one
 * gives it anything, and its link ends on whichever coordinator holds it. Stands until it is enabled.
 *
 * Its leases are lost at once (T13), and blame neither their jobs nor the worker, like those of a fleet event. Those of
 * exclusive jobs are lost `reclaim_after` after its last heartbeat, as if it were cut off: until then it may not know.
 */
export async function disableWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand,
): Promise<WorkerView> {
  const { orgId } = caller;
  const { workerId, keyIds, leases } = await changeWorker(
    c,
    caller,
    "worker.disable",
    command,
    async (tx, worker) => {
      const isByOwner = actsAsOwner(caller, worker, "operate");
      await disableWorkerRow(tx, orgId, worker.workerId, { isByOwner });
      const held = await readLeasesToEnd(tx, orgId, worker.workerId);
      const keyIds = await readWorkerKeyIds(tx, orgId, worker.workerId);
      return { workerId: worker.workerId, keyIds, leases: held, details: { leases: held.length } };
    },
  );
  distrustKeys(c, keyIds);
  c.wakes.command(orgId);
  c.wakes.routes(orgId);
  await endHeldLeases(c, orgId, { leases, reason: "its worker was disabled" });
  return readView(c, orgId, workerId);
}

/** Enables a disabled worker: its key is valid again. A drain or a quarantine stands. */
export async function enableWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand,
): Promise<WorkerView> {
  const { orgId } = caller;
  const { workerId } = await changeWorker(c, caller, "worker.enable", command, async (tx, worker) => {
    const isByOwner = actsAsOwner(caller, worker, "operate");
    if (worker.approval === "rejected") throw failedPrecondition("WORKER_REJECTED", { worker: worker.name });
    if (isByOwner && worker.isDisabled && !worker.isDisabledByOwner) {
      throw failedPrecondition("WORKER_HELD_BY_OPERATOR", { worker: worker.name });
    }
    await enableWorkerRow(tx, orgId, worker.workerId);
    return { workerId: worker.workerId, details: {} };
  });
  c.wakes.routes(orgId);
  return readView(c, orgId, workerId);
}

/**
 * Removes a worker that is not attached and holds nothing, with its keys and with the sessions and linked projects that
 * it published. Its history stays; its name is free. One whose heartbeat is late counts as not attached.
 */
export async function removeWorker(c: WorkerContext, caller: Caller, command: WorkerCommand): Promise<void> {
  const { orgId } = caller;
  const { keyIds } = await changeWorker(c, caller, "worker.remove", command, async (tx, locked) => {
    const { workerId, name } = locked;
    // Who is held back would else come back as somebody new.
    const isHeld = locked.approval === "rejected" || (locked.isDisabled && !locked.isDisabledByOwner);
    if (actsAsOwner(caller, locked, "admin") && (isHeld || locked.quarantineReason !== null)) {
      throw failedPrecondition("WORKER_HELD_BY_OPERATOR", { worker: name });
    }
    await lockLinkRow(tx, orgId, workerId);
    const [worker] = await readWorkers(tx, orgId, { workerId }, c.config.staleMs);
    if (worker === undefined) throw new Error("the locked worker is not there");
    if (!removable.includes(worker.state)) throw failedPrecondition("WORKER_ATTACHED", { worker: name });
    if (worker.leases > 0) {
      throw failedPrecondition("WORKER_HOLDS_LEASES", { worker: name, leases: String(worker.leases) });
    }
    const keyIds = await readWorkerKeyIds(tx, orgId, workerId);
    await lockSessions(tx, orgId);
    await deleteWorker(tx, orgId, workerId);
    return { keyIds, details: { keys: keyIds.length } };
  });
  distrustKeys(c, keyIds);
  c.wakes.command(orgId);
  c.wakes.routes(orgId);
}

/** Ends at once what a worker holds and that may run twice: lost, and nobody's fault. */
export async function endHeldLeases(
  c: Coordinator,
  orgId: string,
  {
    leases,
    reason,
  }: { readonly leases: Awaited<ReturnType<typeof readLeasesToEnd>>; readonly reason: string },
): Promise<void> {
  const ends = leases
    .filter((lease) => !lease.isExclusive)
    .map((fence) => ({ fence, reason, event: { type: "lost" as const, isFleetEvent: true } }));
  await endLeases(c, orgId, ends);
}

const removable: readonly WorkerState[] = [WorkerState.offline, WorkerState.disabled, WorkerState.stale];

/** Changes a worker, locked. The wish and the audit row are one commit; whichever coordinator holds the link finds it. */
export async function changeWorker<Changed extends { readonly details: Readonly<Record<string, unknown>> }>(
  c: WorkerContext,
  caller: Caller,
  action: string,
  { reason, ...name }: WorkerCommand,
  body: (tx: Tx, worker: LockedWorker) => Promise<Changed>,
): Promise<Changed> {
  const violations = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const { selection, shown } = selectWorker(name);
  return inOrg(c.db.app, orgId, async (tx) => {
    const worker = selection && (await lockWorkerRow(tx, orgId, selection));
    if (!worker) throw notFound("WORKER_NOT_FOUND", shown);
    const changed = await body(tx, worker);
    const target = encodeId("worker", worker.workerId);
    const details = { name: worker.name, ...changed.details };
    await audit(tx, c, caller, { action, target, reason, details });
    await tellWorkerAct(tx, c, orgId, action, worker);
    return changed;
  });
}

/** A worker as it is shown. */
export async function readView(c: WorkerContext, orgId: string, workerId: string): Promise<WorkerView> {
  const [row] = await inOrg(c.db.app, orgId, (tx) => readWorkers(tx, orgId, { workerId }, c.config.staleMs));
  if (row === undefined) throw notFound("WORKER_NOT_FOUND", encodeId("worker", workerId));
  return row;
}
