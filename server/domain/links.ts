import { commandsOf, dropCommands, putCommand, type StoredCommand } from "../store/commands.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { leasesOf } from "../store/held-leases.ts";
import {
  type DeclaredWorker,
  declareWorker,
  lockLeaving,
  lockWorker,
  noteFlip,
  openLink,
  quarantineWorker,
} from "../store/links.ts";
import { transactPrepared } from "../store/prepared.ts";
import { setOrg } from "../store/statement.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type PublicationOutcome, publish } from "./publications.ts";
import { type FlipJudgement, judgeFlip } from "./rules/liveness.ts";
import type { Published } from "./rules/publications.ts";
import { bothLimits, limitClaims, noLimits } from "./rules/worker-limits.ts";
import type { Lease } from "./submit.ts";
import { tellEvent } from "./told-events.ts";

/** What a worker says when it attaches. */
export interface Hello {
  readonly bootId: string;
  readonly hostBootId: string;
  readonly areOrphansDead: boolean;
  /** Earlier boots that ended by themselves. */
  readonly endedBoots: readonly string[];
  readonly isDraining: boolean;
  readonly transport: "stream" | "poll";
  readonly declared: DeclaredWorker;
  readonly published: Published;
  readonly held: readonly Lease[];
  readonly outbox: readonly Lease[];
}

/** A lease that the store says the worker has. */
export interface StoredLease extends Lease {
  readonly points: number;
  readonly isAlone: boolean;
  readonly isRunning: boolean;
  readonly isCancelRequested: boolean;
  readonly reason: string;
  readonly ageMs: number;
  readonly leaseTtlMs: number;
  readonly reclaimAfterMs: number;
}

/** What becomes of a lease that the worker listed. */
export type Verdict = "keep" | "cancel" | "superseded" | "send-result";

/** One process of a worker, as people find it. */
export interface Process {
  readonly host: string;
  readonly bootId: string;
}

/** An attached link. */
export interface Attached {
  readonly workerId: string;
  readonly workerName: string;
  readonly linkEpoch: number;
  /** An operator wants it to take nothing new. */
  readonly isDrainWanted: boolean;
  /** What the worker is to be told: its Hello does not say that it does so. */
  readonly command: StoredCommand | null;
  /** It keeps what it holds, and gets nothing new. */
  readonly isQuarantined: boolean;
  /** The same, for this or another reason that the store knows. */
  readonly isHeldBack: boolean;
  /** What it gets of what it declares, and what it does not get, for people. */
  readonly declared: DeclaredWorker;
  readonly refusals: readonly string[];
  /** Pull requests of its jobs that may be open, and are; null: as many as come. */
  readonly maxOpenPrs: number | null;
  readonly openPrs: number;
  /** The process whose live link this one took over; null when there was none. */
  readonly replaced: Process | null;
  readonly verdicts: readonly { readonly lease: Lease; readonly verdict: Verdict }[];
  /** What became of the linked projects and sessions that it publishes. */
  readonly publication: PublicationOutcome;
  /** All leases that the store says the worker has. */
  readonly leases: readonly StoredLease[];
  /** Leases that the worker did not list: offers that it never saw. */
  readonly unseen: readonly StoredLease[];
  /** What an earlier boot was leased that ended by itself: nothing of it runs, and nothing of it is in the outbox. */
  readonly left: readonly StoredLease[];
  /** Leases that died with an earlier boot. */
  readonly dead: readonly StoredLease[];
  /** Leases of an earlier boot that is not proven dead: how long to wait before they are lost. */
  readonly doubtful: readonly { readonly lease: StoredLease; readonly waitMs: number }[];
}

/**
 * Opens the link of a worker: raises its epoch, recounts what it holds and
 * judges what it says that it holds. A second link of the same worker wins.
 */
export async function attachLink(c: Coordinator, caller: Caller, hello: Hello): Promise<Attached> {
  const { orgId, workerId } = caller;
  if (workerId === null) {
    throw new DomainError("SCOPE_MISSING", {
      message: "This key is not a worker's",
      suggestion: "Use the key that `muster worker create` showed.",
    });
  }
  const attached = await transactPrepared(c.db.appClient, setOrg(orgId), async (tx) => {
    const { worker, link } = await lockWorker(tx, orgId, workerId);
    if (!worker) throw notFound("WORKER_NOT_FOUND", encodeId("worker", workerId));
    if (worker.disabledAt) throw new DomainError("WORKER_DISABLED", { details: { worker: worker.name } });
    const { bootId, hostBootId, transport } = hello;
    const isDrainWanted = worker.drainRequestedAt !== null;
    const isDraining = hello.isDraining || isDrainWanted;
    const row = { workerId, bootId, hostBootId, transport, isDraining, coordinatorId: c.coordinatorId };
    const flip = link ? judgeFlip(link, hello, c.config.staleMs) : null;
    const { declared, refusals } = limitClaims(hello.declared, {
      limits: bothLimits(worker.limits ?? noLimits, worker.newcomerLimits ?? noLimits),
      owner: worker.ownerLimits ?? { slots: null, points: null },
    });
    const linkEpoch = await openLink(tx, orgId, row);
    if (!link?.isAttached || link.bootId !== bootId) {
      const { name } = worker;
      const data = { name, host: hello.declared.host, transport };
      await tellEvent(tx, c, orgId, { type: "worker.connected", workerId, data });
    }
    const replaced = link && flip?.isFlip ? { host: worker.host, bootId: link.bootId } : null;
    if (flip && replaced) {
      const comes = { host: hello.declared.host, bootId };
      await noteTakeover(c, tx, { orgId, workerId, name: worker.name }, { replaced, comes, flip });
    }
    // All behind the locked rows, in one go. None goes on after another has failed and the transaction is over.
    const steps = [
      commandAtHello(c, tx, orgId, { workerId, isDrainWanted, isSaid: hello.isDraining }),
      publish(tx, orgId, workerId, hello.published),
      leasesOf(tx, orgId, [workerId]),
      declareWorker(tx, orgId, workerId, { ...declared, refusals: [...refusals] }),
    ] as const;
    await Promise.allSettled(steps);
    const [command, publication, leases] = await Promise.all(steps);
    const stored = new Map(leases.map((lease) => [keyOf(lease), lease]));
    const inOutbox = new Set(hello.outbox.map(keyOf));
    const listed = new Set([...hello.held.map(keyOf), ...inOutbox]);
    const missing = leases.filter((lease) => !listed.has(keyOf(lease)));
    const isSameBoot = link === null || link.bootId === bootId;
    const areDead = hello.areOrphansDead && link?.hostBootId === hostBootId;
    const hasEnded = !isSameBoot && hello.endedBoots.includes(link.bootId);
    // Of an earlier boot also what was only offered: it starts before its accept is committed.
    const lost = isSameBoot || hasEnded ? [] : missing;
    return {
      workerId,
      workerName: worker.name,
      linkEpoch,
      isDrainWanted,
      command,
      isQuarantined: worker.isQuarantined || (flip?.isQuarantined ?? false),
      isHeldBack: worker.isHeldBack || (flip?.isQuarantined ?? false),
      declared,
      refusals,
      maxOpenPrs: worker.maxOpenPrs,
      openPrs: worker.openPrs,
      replaced,
      publication,
      leases,
      verdicts: [...hello.held, ...hello.outbox].map((lease) => ({
        lease,
        verdict: verdictOn(stored.get(keyOf(lease)), inOutbox.has(keyOf(lease))),
      })),
      unseen: isSameBoot ? missing.filter((lease) => !lease.isRunning) : [],
      left: hasEnded ? missing : [],
      dead: areDead ? lost : [],
      doubtful: areDead
        ? []
        : lost.map((lease) => ({ lease, waitMs: Math.max(0, lease.reclaimAfterMs - (link?.silentMs ?? 0)) })),
    };
  });
  if (attached.refusals.length > 0) {
    const { workerName, refusals } = attached;
    c.log.info({ orgId, worker: workerName, refusals }, "a worker does not get all that it says of itself");
  }
  // That its worker is here is enough for a session to be usable again.
  const { isChanged, sessions } = attached.publication;
  if (isChanged || sessions.length > 0) c.wakes.routes(orgId);
  return attached;
}

/**
 * A worker says goodbye over its link: it is granted nothing more from this commit on. Resolves with what the store says
 * that it still has; null when the link is no longer its.
 */
export async function leaveLink(
  c: Pick<Coordinator, "db">,
  orgId: string,
  link: { readonly workerId: string; readonly linkEpoch: number },
): Promise<readonly StoredLease[] | null> {
  return inOrg(c.db.app, orgId, async (tx) =>
    // Claims that hold it are waited for; those that follow find it draining.
    (await lockLeaving(tx, orgId, link)) ? leasesOf(tx, orgId, [link.workerId]) : null,
  );
}

// A Hello that does what is wanted acknowledges it. A later boot is told again while the wish stands.
async function commandAtHello(
  c: Coordinator,
  tx: Tx,
  orgId: string,
  of: { readonly workerId: string; readonly isDrainWanted: boolean; readonly isSaid: boolean },
): Promise<StoredCommand | null> {
  const { workerId, isDrainWanted } = of;
  const [left] = isDrainWanted ? [] : await commandsOf(tx, orgId, [workerId]);
  if (isDrainWanted === of.isSaid || left?.action === "reattach") {
    await dropCommands(tx, orgId, workerId);
    return null;
  }
  if (!isDrainWanted) return left ?? null;
  const command = { commandId: c.newId(), workerId, action: "drain" as const };
  await putCommand(tx, orgId, command);
  return command;
}

/** Names a process for people. */
export function processName({ host, bootId }: Process): string {
  return `host ${host === "" ? "unknown" : host}, boot ${bootId}`;
}

// Two processes run under one identity: the newer has the link; who goes on like that is quarantined.
async function noteTakeover(
  { log, counters }: Coordinator,
  tx: Tx,
  { orgId, workerId, name }: { readonly orgId: string; readonly workerId: string; readonly name: string },
  {
    replaced,
    comes,
    flip,
  }: { readonly replaced: Process; readonly comes: Process; readonly flip: FlipJudgement },
): Promise<void> {
  await noteFlip(tx, orgId, workerId, flip);
  const fields = { orgId, worker: name, older: processName(replaced), newer: processName(comes) };
  log.warn({ ...fields, flips: flip.flips }, "another process took over the link of a worker");
  if (!flip.isQuarantined) return;
  const reason = `two processes fight for its identity: ${fields.older}; ${fields.newer}`;
  await quarantineWorker(tx, orgId, workerId, reason);
  log.error(fields, "a worker is quarantined: two processes fight for its identity");
  counters.addOf(orgId, "muster_quarantines_total", { cause: "identity" });
}

function verdictOn(lease: StoredLease | undefined, isInOutbox: boolean): Verdict {
  // A result is always sent: it is answered duplicate or superseded, and kept.
  if (isInOutbox) return "send-result";
  if (!lease) return "superseded";
  return lease.isCancelRequested ? "cancel" : "keep";
}

function keyOf(lease: Lease): string {
  return `${lease.leaseId}:${lease.attempt}`;
}
