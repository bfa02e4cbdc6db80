import type { Tx } from "../store/database.ts";
import { insertEvent } from "../store/told-events.ts";
import type { Coordinator } from "./context.ts";
import type { ToldType } from "./rules/event-types.ts";

/** What happened besides transitions of jobs. */
export interface ToldEvent {
  readonly type: ToldType;
  readonly workerId?: string;
  readonly project?: string;
  /** For the event's `data`. Never a secret. */
  readonly data?: Readonly<Record<string, unknown>>;
}

/** Tells other services of something, in the transaction of what it tells. */
export async function tellEvent(
  tx: Tx,
  { newId }: Pick<Coordinator, "newId">,
  orgId: string,
  { type, workerId, project, data = {} }: ToldEvent,
): Promise<void> {
  const of = { workerId: workerId ?? null, project: project ?? null };
  await insertEvent(tx, { orgId, eventId: newId(), type, data, ...of });
}

/** The same of an act on a worker; nothing, where it is none that others are told of. */
export async function tellWorkerAct(
  tx: Tx,
  c: Pick<Coordinator, "newId">,
  orgId: string,
  action: string,
  { workerId, name }: { readonly workerId: string; readonly name: string },
): Promise<void> {
  const type = workerActTypes[action];
  if (type !== undefined) await tellEvent(tx, c, orgId, { type, workerId, data: { name } });
}

// By the verbs of the audit log.
const workerActTypes: Readonly<Record<string, ToldType>> = {
  "worker.drain": "worker.draining",
  "worker.resume": "worker.resumed",
  "worker.disable": "worker.disabled",
  "worker.enable": "worker.enabled",
};
