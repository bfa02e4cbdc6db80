import type { ChannelParts } from "../domain/alert-channels.ts";
import { deliverAlerts } from "../domain/alert-deliveries.ts";
import { evaluateAlerts } from "../domain/alert-evaluation.ts";
import type { AlertSources } from "../domain/alert-sources.ts";
import type { Coordinator } from "../domain/context.ts";
import { dropOldAlerts } from "../store/alert-work.ts";
import { inOrg } from "../store/database.ts";
import { type Sweep, where } from "./lookout.ts";

/** What alerts are made and sent by. */
export interface AlertSweepParts {
  readonly coordinator: Coordinator;
  readonly alerts: ChannelParts & AlertSources;
  /** Runs what nobody awaits; a stop waits for it. */
  readonly attempt: (what: string, body: () => Promise<unknown>) => Promise<void>;
}

/** Orgs whose messages are sent at the same time. */
const mostOrgs = 8;
/** How long alerts that are over are kept. */
const keepAlertsMs = 90 * 86_400_000;

/** Looks at the rules that are due, and sends the messages that are. */
export function alertSweeps({ coordinator, alerts, attempt }: AlertSweepParts): Sweep[] {
  const c = { ...coordinator, ...alerts };
  const sending = new Map<string, Promise<void>>();
  return [
    {
      name: "alerts",
      spacingMs: 700,
      orgs: where((work) => work.hasAlerts),
      pass: (orgId, signal) => evaluateAlerts(c, orgId, signal),
    },
    {
      name: "alert messages",
      spacingMs: 700,
      orgs: where((work) => work.hasAlerts),
      // A slow channel of one org is not the others' loss: nobody waits for it here.
      pass: async (orgId, signal) => {
        if (sending.has(orgId)) return;
        if (sending.size >= mostOrgs) await Promise.race(sending.values());
        const done = attempt("send alerts", () => deliverAlerts(c, orgId, signal)).finally(() => {
          sending.delete(orgId);
        });
        sending.set(orgId, done);
      },
    },
  ];
}

/** Forgets alerts of an org that were over long ago. */
export function forgetOldAlerts(c: Coordinator, orgId: string): Promise<void> {
  return inOrg(c.db.sweep, orgId, (tx) => dropOldAlerts(tx, orgId, keepAlertsMs));
}
