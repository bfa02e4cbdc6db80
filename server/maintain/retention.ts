import type { Coordinator } from "../domain/context.ts";
import { keepDeliveriesMs, mostBehindMs } from "../domain/rules/event-webhooks.ts";
import { lossWindowMs } from "../domain/rules/liveness.ts";
import { keepChangesMs } from "../store/changes.ts";
import { forgetCoordinators } from "../store/coordinators.ts";
import { dropDeviceLogins, noOrg } from "../store/device-logins.ts";
import { dropEnrolments } from "../store/enrolments.ts";
import { dropInvitations } from "../store/invitations.ts";
import { dropKeyCounts } from "../store/key-counts.ts";
import { dropMachineKeys } from "../store/keys.ts";
import { dropLogins } from "../store/logins.ts";
import { listOrgs } from "../store/orgs.ts";
import { dropFires } from "../store/schedule-fires.ts";
import { type Call, call, runInOrg } from "../store/statement.ts";
import { dropChanges, dropEvents, dropExpiredKeys, dropLateResults, foldTallies } from "../store/sweeps.ts";
import { dropDeliveries } from "../store/webhook-deliveries.ts";
import { dropLosses } from "../store/worker-losses.ts";
import { forgetOldAlerts } from "./alerts.ts";
import { dropAll, dropRows, upTo } from "./due.ts";
import { keepStats } from "./stats.ts";

/** Drops what is kept for a while, of all orgs: a pass a minute, by any number of coordinators. */
export async function keepToRetention(c: Coordinator, signal: AbortSignal): Promise<void> {
  await forgetCoordinators(c.db.sweep);
  await inEachOrg(c, signal, (orgId) => dropOld(c, orgId, signal));
}

/**
 * Drops keys, enrolments, invitations and logins that ended long ago, of all orgs: a pass an hour, because they are
 * few and nobody waits for it.
 */
export async function forgetEnded(c: Coordinator, signal: AbortSignal): Promise<void> {
  await dropAll(c, noOrg, call(dropDeviceLogins, { org: noOrg }), signal);
  await inEachOrg(c, signal, (orgId) =>
    dropTogether(
      c,
      orgId,
      [
        call(dropMachineKeys, { org: orgId, keep: keepKeysMs }),
        call(dropKeyCounts, { org: orgId }),
        call(dropEnrolments, { org: orgId, keep: keepEnrolmentsMs }),
        call(dropInvitations, { org: orgId, keep: keepInvitationsMs }),
        call(dropLogins, { org: orgId, keep: keepLoginsMs }),
      ],
      signal,
    ),
  );
}

/** How long what has ended is kept, for people who ask what became of it. */
const dayMs = 86_400_000;
const keepKeysMs = 90 * dayMs;
const keepEnrolmentsMs = 90 * dayMs;
const keepInvitationsMs = 30 * dayMs;
/** As long as a login does that its person drops by another one. */
const keepLoginsMs = 7 * dayMs;

async function inEachOrg(
  c: Coordinator,
  signal: AbortSignal,
  drop: (orgId: string) => Promise<void>,
): Promise<void> {
  for (const { orgId } of await listOrgs(c.db.sweep)) {
    if (signal.aborted) return;
    // What fails for one org is not the others' loss.
    await drop(orgId).catch((error: unknown) =>
      c.log.warn({ err: error, orgId }, "retention of an org failed; the next pass tries again"),
    );
  }
}

async function dropOld(c: Coordinator, orgId: string, signal: AbortSignal): Promise<void> {
  await dropTogether(
    c,
    orgId,
    [
      call(dropChanges, { org: orgId, keep: keepChangesMs, most: mostBehindMs }),
      call(dropEvents, { org: orgId, keep: keepChangesMs, most: mostBehindMs }),
      call(dropDeliveries, { org: orgId, keep: keepDeliveriesMs }),
      call(dropExpiredKeys, { org: orgId }),
      call(dropLateResults, { org: orgId, keep: c.config.lateResultTtlMs }),
      call(dropFires, { org: orgId, keep: c.config.scheduleHistoryMs }),
    ],
    signal,
    [
      call(foldTallies, { org: orgId, tally: c.newId() }),
      call(dropLosses, { org: orgId, window: lossWindowMs }),
      ...keepStats(c, orgId),
    ],
  );
  await forgetOldAlerts(c, orgId);
}

// One transaction, where there is not much to drop.
async function dropTogether(
  c: Coordinator,
  orgId: string,
  drops: readonly Call[],
  signal: AbortSignal,
  others: readonly Call[] = [],
): Promise<void> {
  const dropped = await runInOrg(c.db.sweepClient, orgId, [
    ...drops.map((one) => upTo(dropRows, one)),
    ...others,
  ]);
  const many = drops.filter((_, index) => dropped[index]?.length === dropRows);
  for (const one of many) await dropAll(c, orgId, one, signal);
}
