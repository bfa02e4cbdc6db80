import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Held } from "../dispatch/link.ts";
import type { Coordinator } from "../domain/context.ts";
import { fireDueSchedules } from "../domain/fire-schedules.ts";
import { cancelOverdueJob } from "../domain/jobs.ts";
import { systemCaller } from "../domain/keys.ts";
import { coordinatorLifeMs } from "../domain/rules/liveness.ts";
import type { LinkSession } from "../link/session.ts";
import { upsertCoordinator } from "../store/coordinators.ts";
import { inOrg } from "../store/database.ts";
import { cancelsOf, leasesOf } from "../store/held-leases.ts";
import { look } from "../store/look.ts";
import { call, runInOrg } from "../store/statement.ts";
import { findOverdue, sweepRows } from "../store/sweeps.ts";
import { type AlertSweepParts, alertSweeps } from "./alerts.ts";
import { pushCommands } from "./commands.ts";
import { lapseAvoids, promoteDueJobs } from "./due.ts";
import type { Expiry } from "./expiry.ts";
import { countGates, gateAges, openGates, withdrawAllOffers } from "./gates.ts";
import { Lookout, type Sweep, where } from "./lookout.ts";
import type { Loop } from "./loop.ts";
import type { WantedWorkers } from "./own-workers.ts";
import type { ReleaseSweep } from "./releases.ts";
import { forgetEnded, keepToRetention } from "./retention.ts";
import { isStandingOld, refreshStandingOf } from "./standing.ts";
import { foldFlushes } from "./stats.ts";
import type { WebhookSender } from "./webhooks.ts";
import { silenceAsked, tellSilence } from "./worker-silence.ts";

/** What the sweeps work with. */
export interface SweepParts extends AlertSweepParts {
  readonly coordinator: Coordinator;
  readonly dispatcher: Dispatcher;
  readonly sessions: ReadonlySet<LinkSession>;
  readonly expiry: Expiry;
  readonly releases: ReleaseSweep;
  readonly webhooks: Pick<WebhookSender, "pass">;
  readonly wanted: Pick<WantedWorkers, "sweep">;
  readonly apiAddress: string;
  readonly nowMs: () => number;
  /** Sees to the wakes between coordinators. */
  readonly checkPeers: () => Promise<void>;
  /** Drops polling links that were not heard of. */
  readonly prunePolls: () => void;
  /** Takes note of the cluster's epoch. */
  readonly sawEpoch: (epoch: number) => void;
  /** Makes the partitions of the days ahead. */
  readonly ensurePartitions: () => Promise<void>;
}

/** The loops of a coordinator. Each is right when any number of coordinators run it at once. */
export function sweeps(parts: SweepParts): Loop[] {
  const { coordinator: c } = parts;
  const askForSilence = silenceAsked(c.config, parts.nowMs);
  const lookout = new Lookout({
    sweeps: orgSweeps(parts),
    look: (aheadMs) =>
      look(c.db.sweep, {
        ...{ coordinatorId: c.coordinatorId, ...gateAges },
        ...{ aheadMs, staleMs: askForSilence() },
      }),
    activity: () => c.db.uses(),
    looked: (error) => parts.expiry.looked(error),
    nowMs: parts.nowMs,
    log: c.log,
  });
  return [
    lookout.loop(),
    { name: "withdrawals", intervalMs: 1_000, pass: () => withdrawAllOffers(parts) },
    { name: "links", intervalMs: 1_000, pass: async () => checkLinks(parts) },
    { name: "peers", intervalMs: 2_000, pass: () => parts.checkPeers() },
    { name: "coordinator", intervalMs: coordinatorLifeMs, pass: () => showLife(parts) },
    { name: "partitions", intervalMs: 3_600_000, pass: () => parts.ensurePartitions() },
    { name: "retention", intervalMs: 60_000, pass: (signal) => keepToRetention(c, signal) },
    { name: "ended keys and logins", intervalMs: 3_600_000, pass: (signal) => forgetEnded(c, signal) },
  ];
}

/** Least times between passes of what is repeated while it stands: a little less than a second, and than five. */
const eachSecondMs = 700;
const eachFiveSecondsMs = 4_500;

/** The sweeps that go by what a look saw. */
export function orgSweeps(parts: SweepParts): Sweep[] {
  const { coordinator: c, dispatcher, expiry, releases } = parts;
  let wereReady: readonly string[] = [];
  return [
    {
      name: "due",
      spacingMs: 0,
      orgs: where((work) => work.isDue),
      pass: (orgId, signal) => promoteDueJobs(c, orgId, signal),
    },
    {
      name: "schedules",
      spacingMs: 0,
      orgs: where((work) => work.hasDueSchedules),
      pass: (orgId, signal) => fireDueSchedules(c, orgId, signal),
    },
    {
      name: "pauses",
      spacingMs: 0,
      orgs: where((work) => work.hasOpenGates),
      pass: (orgId) => openGates(c, orgId),
    },
    {
      name: "releases",
      spacingMs: 0,
      orgs: where((work) => work.hasReleases),
      pass: (orgId, signal) => releases.drain(orgId, signal),
    },
    {
      name: "gates",
      spacingMs: eachFiveSecondsMs,
      orgs: where((work) => work.hasUncountedGates),
      pass: (orgId) => countGates(c, orgId),
    },
    {
      name: "avoids",
      spacingMs: eachSecondMs,
      orgs: where((work) => work.hasAvoids),
      pass: (orgId) => lapseAvoids(c, orgId),
    },
    {
      name: "expiry",
      spacingMs: eachSecondMs,
      // Links that vanish together are counted over all orgs, also those that hold nothing.
      orgs: (seen) => {
        const isAnyLeased = seen.orgs.values().some((work) => work.isLeased);
        const linked = new Set(where((work) => work.isLeased || work.isLinked)(seen));
        return new Set([...(isAnyLeased ? linked : []), ...expiry.unsettled(linked)]);
      },
      pass: (orgId) => expiry.pass(orgId),
    },
    {
      name: "deadlines",
      spacingMs: eachSecondMs,
      orgs: where((work) => work.isOverdue),
      pass: (orgId) => cancelOverdue(c, orgId),
    },
    {
      name: "stats",
      spacingMs: eachFiveSecondsMs,
      orgs: where((work) => work.hasStats),
      pass: (orgId, signal) => foldFlushes(c, orgId, signal),
    },
    {
      name: "commands",
      spacingMs: eachSecondMs,
      orgs: where((work) => work.hasCommands),
      pass: (orgId) => pushCommands(parts, orgId),
    },
    {
      name: "webhooks",
      spacingMs: 0,
      orgs: where((work) => work.hasWebhooks),
      pass: (orgId, signal) => parts.webhooks.pass(orgId, signal),
    },
    {
      name: "standing",
      spacingMs: eachSecondMs,
      orgs: (seen) =>
        dispatcher
          .orgs()
          .filter((orgId) => isStandingOld(parts, orgId, seen.orgs.get(orgId) ?? nothingHeldBack)),
      pass: (orgId) => refreshStandingOf(parts, orgId),
    },
    {
      name: "cancels",
      spacingMs: eachSecondMs,
      orgs: where((work) => work.hasCancels),
      pass: (orgId) => pushCancels(parts, orgId),
    },
    {
      name: "leases",
      spacingMs: eachFiveSecondsMs,
      // What is stored and not known here, and what is known here and not stored.
      orgs: ({ orgs }) =>
        dispatcher.orgs().filter((orgId) => orgs.get(orgId)?.isLeased || holdsLeases(dispatcher, orgId)),
      pass: (orgId) => reconcileLeases(parts, orgId),
    },
    {
      name: "ready",
      spacingMs: eachSecondMs,
      // Once more when nothing is ready any more, so that what was known of it goes.
      orgs: (seen) => {
        const ready = [...where((work, orgId) => work.isReady && dispatcher.linksOf(orgId).size > 0)(seen)];
        const due = new Set([...ready, ...wereReady]);
        wereReady = ready;
        return due;
      },
      pass: (orgId) => dispatcher.refresh(orgId),
    },
    {
      name: "silence",
      spacingMs: eachSecondMs,
      orgs: where((work) => work.hasSilence),
      pass: (orgId, signal) => tellSilence(c, orgId, { mayBeSilent: expiry.isOpen(orgId), signal }),
    },
    parts.wanted.sweep(),
    ...alertSweeps(parts),
  ];
}

const nothingHeldBack = { disabled: [], heldBack: [] };

function holdsLeases(dispatcher: Dispatcher, orgId: string): boolean {
  return dispatcher
    .linksOf(orgId)
    .values()
    .some((link) => link.held.size > 0);
}

/** Repeats the cancels of an org's links here until they are acknowledged. */
export async function pushCancels(
  parts: Pick<SweepParts, "coordinator" | "dispatcher">,
  orgId: string,
): Promise<void> {
  const links = parts.dispatcher.linksOf(orgId);
  if (links.size === 0) return;
  const rows = await inOrg(parts.coordinator.db.sweep, orgId, (tx) =>
    cancelsOf(tx, orgId, [...links.keys()]),
  );
  const reasons = new Map(rows.map((row) => [row.leaseId, row.reason]));
  if (reasons.size === 0) return;
  for (const link of links.values()) {
    for (const held of link.held.values()) {
      const reason = reasons.get(held.fence.leaseId);
      if (reason !== undefined && !held.isCancelAcknowledged) link.port.cancel(held.fence, reason);
    }
  }
}

/** T18: cancels jobs whose deadline has passed. */
async function cancelOverdue(c: Coordinator, orgId: string): Promise<void> {
  const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
    call(findOverdue, { org: orgId, limit: sweepRows }),
  ]);
  for (const row of rows) {
    await cancelOverdueJob(c, systemCaller(orgId), String(row["job"]));
  }
}

function checkLinks(parts: SweepParts): void {
  for (const session of parts.sessions) session.check();
  parts.prunePolls();
}

/**
 * What the links of an org here count as held, against the store. Another coordinator, or an operator, may have taken
 * a lease away; a claim may have been committed whose answer was lost.
 */
export async function reconcileLeases(
  { coordinator, sessions, nowMs }: Pick<SweepParts, "coordinator" | "sessions" | "nowMs">,
  orgId: string,
): Promise<void> {
  const own = [...sessions].filter((session) => session.link.orgId === orgId);
  if (own.length === 0) return;
  const counted = own.flatMap((session) =>
    [...session.link.held.values()]
      .filter((held) => isSettledHere(held) && nowMs() - held.offeredAtMs > 1_000)
      .map((held) => ({ session, leaseId: held.fence.leaseId })),
  );
  const rows = await inOrg(coordinator.db.sweep, orgId, (tx) =>
    leasesOf(
      tx,
      orgId,
      own.map((session) => session.link.workerId),
    ),
  );
  const stored = new Set(rows.map((row) => row.leaseId));
  for (const { session, leaseId } of counted) {
    // A result may have been committed meanwhile: then the link does not hold it any more.
    const held = session.link.held.get(leaseId);
    if (held && isSettledHere(held) && !stored.has(leaseId)) session.revoke(leaseId, "superseded");
  }
  const byWorker = new Map(own.map((session) => [session.link.workerId, session]));
  const old = rows.filter((row) => row.ageMs > coordinator.config.offerTtlMs);
  await Promise.all(old.map((row) => byWorker.get(row.workerId)?.adopt(row)));
}

async function showLife({ coordinator, sessions, apiAddress, sawEpoch }: SweepParts): Promise<void> {
  const { coordinatorId, db } = coordinator;
  sawEpoch(await upsertCoordinator(db.sweep, { coordinatorId, apiAddress, links: sessions.size }));
}

// Nothing of it is on its way to the store.
function isSettledHere({ state }: Held): boolean {
  return state === "running" || state === "offered";
}
