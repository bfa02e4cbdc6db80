import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { Held } from "../dispatch/link.ts";
import type { Coordinator } from "../domain/context.ts";
import { cancelOverdueJob } from "../domain/jobs.ts";
import { systemCaller } from "../domain/keys.ts";
import { lossWindowMs } from "../domain/rules/liveness.ts";
import type { LinkSession } from "../link/session.ts";
import { keepChangesMs } from "../store/changes.ts";
import { readCluster, upsertCoordinator } from "../store/coordinators.ts";
import { inOrg } from "../store/database.ts";
import { cancelsOf, leasesOf } from "../store/held-leases.ts";
import { listOrgs } from "../store/orgs.ts";
import { call, runInOrg } from "../store/statement.ts";
import { dropChanges, dropExpiredKeys, findOverdue, foldTallies, sweepRows } from "../store/sweeps.ts";
import { dropLosses } from "../store/worker-losses.ts";
import { pushCommands } from "./commands.ts";
import { dropAll, lapseAvoids, promoteDueJobs, sweepOnce } from "./due.ts";
import type { Expiry } from "./expiry.ts";
import { countGates, openGates, withdrawAllOffers } from "./gates.ts";
import type { Loop } from "./loop.ts";
import type { ReleaseSweep } from "./releases.ts";
import { refreshStanding } from "./standing.ts";

/** What the sweeps work with. */
export interface SweepParts {
  readonly coordinator: Coordinator;
  readonly dispatcher: Dispatcher;
  readonly sessions: ReadonlySet<LinkSession>;
  readonly expiry: Expiry;
  readonly releases: ReleaseSweep;
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
  const { expiry } = parts;
  const eachOrg =
    (body: (orgId: string, signal: AbortSignal) => Promise<void>) => async (signal: AbortSignal) => {
      for (const { orgId } of await listOrgs(c.db.sweep)) {
        if (signal.aborted) return;
        // What fails for one org is not the others' loss.
        await body(orgId, signal).catch((error: unknown) =>
          c.log.warn({ err: error, orgId }, "a sweep of an org failed; the next pass tries again"),
        );
      }
    };
  return [
    { name: "due", intervalMs: 250, pass: eachOrg((orgId, signal) => promoteDueJobs(c, orgId, signal)) },
    { name: "pauses", intervalMs: 250, pass: eachOrg((orgId) => openGates(c, orgId)) },
    { name: "gates", intervalMs: 5_000, pass: eachOrg((orgId) => countGates(c, orgId)) },
    { name: "withdrawals", intervalMs: 1_000, pass: () => withdrawAllOffers(parts) },
    {
      name: "releases",
      intervalMs: 250,
      pass: eachOrg((orgId, signal) => parts.releases.drain(orgId, signal)),
    },
    { name: "avoids", intervalMs: 1_000, pass: eachOrg((orgId) => lapseAvoids(c, orgId)) },
    { name: "expiry", intervalMs: 1_000, pass: eachOrg((orgId) => expiry.pass(orgId)) },
    { name: "deadlines", intervalMs: 1_000, pass: eachOrg((orgId) => cancelOverdue(c, orgId)) },
    { name: "links", intervalMs: 1_000, pass: async () => checkLinks(parts) },
    { name: "peers", intervalMs: 2_000, pass: () => parts.checkPeers() },
    { name: "commands", intervalMs: 1_000, pass: () => pushAllCommands(parts) },
    { name: "standing", intervalMs: 1_000, pass: () => refreshStanding(parts) },
    { name: "cancels", intervalMs: 1_000, pass: () => pushAllCancels(parts) },
    { name: "leases", intervalMs: 5_000, pass: () => reconcileAllLeases(parts) },
    { name: "ready", intervalMs: 1_000, pass: () => refreshReady(parts) },
    { name: "coordinator", intervalMs: 5_000, pass: () => showLife(parts) },
    { name: "partitions", intervalMs: 3_600_000, pass: () => parts.ensurePartitions() },
    {
      name: "retention",
      intervalMs: 60_000,
      pass: eachOrg(async (orgId, signal) => {
        await sweepOnce(c, orgId, call(foldTallies, { org: orgId, tally: c.newId() }));
        await dropAll(c, orgId, call(dropChanges, { org: orgId, keep: keepChangesMs }), signal);
        await dropAll(c, orgId, call(dropExpiredKeys, { org: orgId }), signal);
        await sweepOnce(c, orgId, call(dropLosses, { org: orgId, window: lossWindowMs }));
      }),
    },
  ];
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

async function pushAllCancels(parts: SweepParts): Promise<void> {
  for (const orgId of parts.dispatcher.orgs()) await pushCancels(parts, orgId);
}

async function pushAllCommands(parts: SweepParts): Promise<void> {
  for (const orgId of parts.dispatcher.orgs()) await pushCommands(parts, orgId);
}

async function refreshReady({ dispatcher }: SweepParts): Promise<void> {
  for (const orgId of dispatcher.orgs()) await dispatcher.refresh(orgId);
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

async function reconcileAllLeases(parts: SweepParts): Promise<void> {
  for (const orgId of parts.dispatcher.orgs()) await reconcileLeases(parts, orgId);
}

async function showLife({ coordinator, sessions, apiAddress, sawEpoch }: SweepParts): Promise<void> {
  await upsertCoordinator(coordinator.db.sweep, {
    coordinatorId: coordinator.coordinatorId,
    apiAddress,
    links: sessions.size,
  });
  sawEpoch((await readCluster(coordinator.db.sweep)).epoch);
}

// Nothing of it is on its way to the store.
function isSettledHere({ state }: Held): boolean {
  return state === "running" || state === "offered";
}
