import { disableWorkerRow, enableWorkerRow, readLeasesToEnd } from "../store/disabled-workers.ts";
import { readWorkerKeyIds } from "../store/keys.ts";
import { updateWorkerTerms } from "../store/worker-limits.ts";
import type { WorkerCommand } from "./commands.ts";
import type { Caller } from "./context.ts";
import { changeWorker, endHeldLeases, readView, type WorkerContext } from "./disabled-workers.ts";
import { failedPrecondition } from "./errors.ts";
import { distrustKeys } from "./keys.ts";
import { attachAnew } from "./worker-limits.ts";
import type { WorkerView } from "./workers.ts";

/**
 * Approves a machine that a person enrolled: it gets offers, and the limits of newcomers end. One that was rejected may
 * attach again.
 */
export async function approveWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand,
): Promise<WorkerView> {
  const { orgId } = caller;
  const { workerId } = await changeWorker(c, caller, "worker.approve", command, async (tx, worker) => {
    const { workerId, name, approval, limits, newcomerLimits } = worker;
    if (approval === null) throw failedPrecondition("WORKER_NEEDS_NO_APPROVAL", { worker: name });
    await updateWorkerTerms(tx, orgId, workerId, {
      approval: "approved",
      newcomerLimits: null,
      maxOpenPrs: limits?.openPrs ?? null,
    });
    if (approval === "rejected") await enableWorkerRow(tx, orgId, workerId);
    if (newcomerLimits !== null) await attachAnew(c, tx, orgId, workerId);
    return { workerId, details: { before: approval, after: "approved" } };
  });
  c.wakes.command(orgId);
  c.wakes.routes(orgId);
  c.wakes.ready(orgId);
  return readView(c, orgId, workerId);
}

/** Rejects a machine that a person enrolled: it is disabled, and an operator alone can let it in again. */
export async function rejectWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand,
): Promise<WorkerView> {
  const { orgId } = caller;
  const { workerId, keyIds, leases } = await changeWorker(
    c,
    caller,
    "worker.reject",
    command,
    async (tx, { workerId, name, approval }) => {
      if (approval === null) throw failedPrecondition("WORKER_NEEDS_NO_APPROVAL", { worker: name });
      await updateWorkerTerms(tx, orgId, workerId, { approval: "rejected" });
      await disableWorkerRow(tx, orgId, workerId);
      const held = await readLeasesToEnd(tx, orgId, workerId);
      const details = { before: approval, after: "rejected", leases: held.length };
      return { workerId, keyIds: await readWorkerKeyIds(tx, orgId, workerId), leases: held, details };
    },
  );
  distrustKeys(c, keyIds);
  c.wakes.command(orgId);
  c.wakes.routes(orgId);
  await endHeldLeases(c, orgId, { leases, reason: "its worker was rejected" });
  return readView(c, orgId, workerId);
}
