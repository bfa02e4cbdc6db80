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
import { lockWorkerRow, readWorkers } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { WorkerCommand } from "./commands.ts";
import type { Caller, Coordinator } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { distrustKeys, type KeyContext } from "./keys.ts";
import { endLeases } from "./leases.ts";
import { textViolations } from "./rules/texts.ts";
import { WorkerState } from "./rules/worker-states.ts";
import { selectWorker, type WorkerView } from "./workers.ts";

/** What these verbs work with. */
type WorkerContext = Coordinator & Pick<KeyContext, "verifiedKeys" | "streams">;

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
  const { workerId, keyIds, leases } = await change(
    c,
    caller,
    "worker.disable",
    command,
    async (tx, worker) => {
      await disableWorkerRow(tx, orgId, worker.workerId);
      const held = await readLeasesToEnd(tx, orgId, worker.workerId);
      const keyIds = await readWorkerKeyIds(tx, orgId, worker.workerId);
      return { workerId: worker.workerId, keyIds, leases: held, details: { leases: held.length } };
    },
  );
  distrustKeys(c, keyIds);
  c.wakes.command(orgId);
  c.wakes.routes(orgId);
  const reason = "its worker was disabled";
  const ends = leases
    .filter((lease) => !lease.isExclusive)
    .map((fence) => ({ fence, reason, event: { type: "lost" as const, isFleetEvent: true } }));
  await endLeases(c, orgId, ends);
  return readView(c, orgId, workerId);
}

/** Enables a disabled worker: its key is valid again. A drain or a quarantine stands. */
export async function enableWorker(
  c: WorkerContext,
  caller: Caller,
  command: WorkerCommand,
): Promise<WorkerView> {
  const { orgId } = caller;
  const { workerId } = await change(c, caller, "worker.enable", command, async (tx, worker) => {
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
  const { keyIds } = await change(c, caller, "worker.remove", command, async (tx, { workerId, name }) => {
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

const removable: readonly WorkerState[] = [WorkerState.offline, WorkerState.disabled, WorkerState.stale];

// The wish and the audit row are one commit; whichever coordinator holds the link finds it.
async function change<Changed extends { readonly details: Readonly<Record<string, unknown>> }>(
  c: WorkerContext,
  caller: Caller,
  action: string,
  { reason, ...name }: WorkerCommand,
  body: (tx: Tx, worker: { readonly workerId: string; readonly name: string }) => Promise<Changed>,
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
    return changed;
  });
}

async function readView(c: WorkerContext, orgId: string, workerId: string): Promise<WorkerView> {
  const [row] = await inOrg(c.db.app, orgId, (tx) => readWorkers(tx, orgId, { workerId }, c.config.staleMs));
  if (row === undefined) throw notFound("WORKER_NOT_FOUND", encodeId("worker", workerId));
  return row;
}
