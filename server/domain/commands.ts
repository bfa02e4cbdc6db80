import { putCommand } from "../store/commands.ts";
import { inOrg } from "../store/database.ts";
import { drainWorkerRow, lockWorkerRow, readWorkers, resumeWorkerRow } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { failedPrecondition, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { tellWorkerAct } from "./told-events.ts";
import { actsAsOwner } from "./worker-owners.ts";
import { selectWorker, type WorkerName, type WorkerView } from "./workers.ts";

/** Which worker, and why: for people. */
export type WorkerCommand = WorkerName & { readonly reason: string };

/**
 * Drains a worker: no claim that commits after this one gives it anything. What
 * it has it finishes. Stands until it is resumed, also for its later boots.
 */
export function drainWorker(c: Coordinator, caller: Caller, command: WorkerCommand): Promise<WorkerView> {
  return commandWorker(c, caller, command, "drain");
}

/** Lets a worker take work again: ends a drain, and lifts a quarantine. */
export function resumeWorker(c: Coordinator, caller: Caller, command: WorkerCommand): Promise<WorkerView> {
  return commandWorker(c, caller, command, "resume");
}

// The wish, the command and the audit row are one commit; whichever coordinator holds the link finds the row.
async function commandWorker(
  c: Coordinator,
  caller: Caller,
  { reason, ...name }: WorkerCommand,
  action: "drain" | "resume",
): Promise<WorkerView> {
  const { orgId } = caller;
  const { selection, shown } = selectWorker(name);
  const view = await inOrg(c.db.app, orgId, async (tx) => {
    const worker = selection && (await lockWorkerRow(tx, orgId, selection));
    if (!worker) throw notFound("WORKER_NOT_FOUND", shown);
    const { workerId } = worker;
    const isByOwner = actsAsOwner(caller, worker, "operate");
    if (action === "drain") await drainWorkerRow(tx, orgId, workerId, { isByOwner });
    else {
      const isHeld = worker.quarantineReason !== null || (worker.isDraining && !worker.isDrainedByOwner);
      if (isByOwner && isHeld) throw failedPrecondition("WORKER_HELD_BY_OPERATOR", { worker: worker.name });
      await resumeWorkerRow(tx, orgId, workerId);
    }
    await putCommand(tx, orgId, { commandId: c.newId(), workerId, action });
    await audit(tx, c, caller, {
      action: `worker.${action}`,
      target: encodeId("worker", workerId),
      reason,
      details: { name: worker.name, wasDraining: worker.isDraining, quarantine: worker.quarantineReason },
    });
    await tellWorkerAct(tx, c, orgId, `worker.${action}`, worker);
    const [row] = await readWorkers(tx, orgId, { workerId }, c.config.staleMs);
    if (row === undefined) throw new Error("the locked worker is not there");
    return row;
  });
  c.wakes.command(orgId);
  if (action === "resume") c.wakes.ready(orgId);
  return view;
}
