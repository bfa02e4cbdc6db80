import { forgetCounts } from "../store/alert-rules.ts";
import type { Tx } from "../store/database.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { tellEvent } from "./told-events.ts";

/** What other services are told of an alert. */
export interface AlertFacts {
  readonly alertId: string;
  readonly rule: string;
  readonly group: string;
  readonly condition: string;
  readonly severity: string;
  readonly summary: string;
  readonly startedAt: Date;
  readonly isSilenced: boolean;
}

/** Tells other services that an alert began or ended: once each, however many messages channels get. */
export async function tellAlert(
  tx: Tx,
  c: Pick<Coordinator, "newId">,
  orgId: string,
  type: "alert.fired" | "alert.resolved",
  { alertId, startedAt, isSilenced, ...known }: AlertFacts,
): Promise<void> {
  const data = { ...known, alertId: encodeId("alert", alertId), since: startedAt.toISOString() };
  await tellEvent(tx, c, orgId, { type, data: { ...data, silenced: isSilenced } });
}

/** Forgets what a rule counted. Its alerts end: no channel is told, but the event feed is. */
export async function forgetRule(
  tx: Tx,
  c: Pick<Coordinator, "newId">,
  orgId: string,
  rule: string,
): Promise<void> {
  for (const alert of await forgetCounts(tx, orgId, rule))
    await tellAlert(tx, c, orgId, "alert.resolved", alert);
}
