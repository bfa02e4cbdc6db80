import { type GateChange, type GateRow, putGate, readGates } from "../store/gates.ts";
import {
  type QueueCounts,
  readClockMs,
  readOldestReady,
  readQueueCounts,
  readSettingNames,
  wakePool,
} from "../store/queues.ts";
import { call, type OrgTx, transact } from "../store/statement.ts";
import { insertAuditRows } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument } from "./errors.ts";
import { auditRow } from "./job-rows.ts";
import { getKindFacts, type KindContext, type KindFacts, listKindFacts } from "./kinds.ts";
import { type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import {
  gateKey,
  limitViolations,
  longestPauseMs,
  type QueueLimits,
  type QueueName,
  type QueueType,
  queueViolations,
} from "./rules/limits.ts";
import { slugRule } from "./rules/texts.ts";

/** A queue, a kind or a pool with its limits and counts. */
export interface QueueView extends QueueName {
  readonly limits: QueueLimits;
  /** Null: it is not paused. */
  readonly pause: {
    readonly at: Date;
    readonly reason: string;
    /** Null: until somebody resumes it. */
    readonly resumeAt: Date | null;
  } | null;
  /** Leases of its jobs; of kinds and pools where there is a limit or a pause, else 0. */
  readonly leased: number;
  /** Of queues only. */
  readonly counts: QueueCounts | null;
  /** When its oldest ready job became ready. Of queues only. */
  readonly oldestReadyAt: Date | null;
  /** Of kinds only, where it was asked for. */
  readonly kind?: KindFacts;
}

/** What the verbs of queues work with. */
export type QueueContext = Coordinator & {
  /** Takes back offers of an org that stand behind a paused gate, of the links here. Resolves with their number. */
  readonly withdrawOffers: (orgId: string) => Promise<number>;
};

/**
 * Lists queues, kinds or pools by name: those that jobs, limits, pauses or settings name, and the kinds that are built
 * in or that workers registered.
 */
export async function listQueues(
  c: KindContext,
  caller: Caller,
  {
    type,
    withKindFacts = false,
    ...page
  }: PageRequest & { readonly type: QueueType; readonly withKindFacts?: boolean },
): Promise<Page<QueueView>> {
  const { orgId } = caller;
  const identity = { list: "queues", orgId, filter: type };
  const limit = pageRows(page);
  const [after = ""] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const known = await transact(c.db.hot, orgId, (tx) => readQueues(tx, type));
  const kinds = type === "kind" ? await listKindFacts(c, caller, { withFacts: withKindFacts }) : noKinds;
  const names = [...new Set([...known.names, ...kinds.keys()])].filter((name) => name > after).sort();
  return pageOf(
    names.slice(0, limit + 1),
    limit,
    identity,
    (name) => [name],
    (name) => {
      const kind = kinds.get(name);
      return { ...viewOf({ type, name }, known), ...(kind ? { kind } : {}) };
    },
  );
}

/** Reads one, of a kind also who serves it. QUEUE_NOT_FOUND when nothing names it, and nobody serves it. */
export async function getQueue(c: KindContext, caller: Caller, queue: QueueName): Promise<QueueView> {
  const violations = queueViolations(queue, "");
  if (violations.length > 0) throw invalidArgument(violations);
  const known = await transact(c.db.hot, caller.orgId, (tx) => readQueues(tx, queue.type));
  const kind = queue.type === "kind" ? await getKindFacts(c, caller, queue.name) : null;
  const isServed = kind !== null && (kind.builtIn !== null || kind.workerCount > 0);
  if (!known.names.has(queue.name) && !isServed) throw queueNotFound(queue);
  return { ...viewOf(queue, known), ...(kind === null ? {} : { kind }) };
}

/** Replaces all limits of one; null is none. They hold from the commit. */
export async function setQueueLimits(
  c: Coordinator,
  caller: Caller,
  { limits, reason, ...queue }: QueueName & { readonly limits: QueueLimits; readonly reason: string },
): Promise<QueueView> {
  const violations = [...queueViolations(queue, reason), ...limitViolations(limits)];
  if (violations.length > 0) throw invalidArgument(violations);
  const view = await change(c, caller, queue, { verb: "limits", reason }, () => ({
    maxUsed: limits.running,
    rate: limits.startRate,
  }));
  c.wakes.gates(caller.orgId);
  c.wakes.ready(caller.orgId);
  return view;
}

/**
 * Pauses one until a time, or until it is resumed: from the commit none of its jobs is offered. Resolves when the
 * offers of this coordinator are withdrawn.
 */
export async function pauseQueue(
  c: QueueContext,
  caller: Caller,
  { until, reason, ...queue }: QueueName & { readonly until: Date | null; readonly reason: string },
): Promise<{ readonly queue: QueueView; readonly withdrawn: number }> {
  const violations = queueViolations(queue, reason);
  if (violations.length > 0) throw invalidArgument(violations);
  const view = await change(c, caller, queue, { verb: "pause", reason }, async (tx) => {
    if (until !== null) {
      const aheadMs = until.getTime() - (await readClockMs(tx));
      if (aheadMs <= 0 || aheadMs > longestPauseMs) {
        throw invalidArgument([{ field: "until", message: "must lie ahead, and not more than a year" }]);
      }
    }
    return { pause: { reason, resumeAt: until } };
  });
  // What is withdrawn here is counted before the wake makes everybody look.
  const withdrawn = await c.withdrawOffers(caller.orgId);
  c.wakes.gates(caller.orgId);
  return { queue: view, withdrawn };
}

/** Lets one go on, and with a pool the jobs that were parked for it. QUEUE_NOT_FOUND when nothing names it. */
export async function resumeQueue(
  c: Coordinator,
  caller: Caller,
  { reason, ...queue }: QueueName & { readonly reason: string },
): Promise<QueueView> {
  const violations = queueViolations(queue, reason);
  if (violations.length > 0) throw invalidArgument(violations);
  const view = await change(c, caller, queue, { verb: "resume", reason }, async (tx) => {
    const known = await readQueues(tx, queue.type);
    if (!known.names.has(queue.name)) throw queueNotFound(queue);
    return { pause: null };
  });
  c.wakes.gates(caller.orgId);
  c.wakes.ready(caller.orgId);
  return view;
}

async function change(
  c: Coordinator,
  caller: Caller,
  queue: QueueName,
  { verb, reason }: { readonly verb: "limits" | "pause" | "resume"; readonly reason: string },
  changeOf: (tx: OrgTx) => GateChange | Promise<GateChange>,
): Promise<QueueView> {
  const key = gateKey(queue);
  await transact(c.db.hot, caller.orgId, async (tx) => {
    const { before, after } = await putGate(tx, key, await changeOf(tx));
    if (verb === "resume" && queue.type === "pool") {
      await tx.run(call(wakePool, { org: tx.orgId, pool: queue.name }));
    }
    const details = { before: gateDetails(before), after: gateDetails(after) };
    await tx.run(insertAuditRows(tx.orgId, [auditRow(c, caller, `queue.${verb}`, key, details, reason)]));
  });
  // The counts take longer than the change: no claim waits for them.
  return viewOf(queue, await transact(c.db.hot, caller.orgId, (tx) => readQueues(tx, queue.type)));
}

interface KnownQueues {
  readonly names: ReadonlySet<string>;
  readonly gates: ReadonlyMap<string, GateRow>;
  readonly counts: ReadonlyMap<string, QueueCounts>;
  readonly oldest: ReadonlyMap<string, Date>;
}

async function readQueues(tx: OrgTx, type: QueueType): Promise<KnownQueues> {
  const isQueue = type === "queue";
  const gates = await readGates(tx, null);
  const counts = isQueue ? await readQueueCounts(tx) : new Map<string, QueueCounts>();
  const oldest = isQueue ? await readOldestReady(tx) : new Map<string, Date>();
  const prefix = `${type}:`;
  const gated = [...gates.keys()].flatMap((key) =>
    key.startsWith(prefix) ? [key.slice(prefix.length)] : [],
  );
  const names = new Set([...gated, ...counts.keys(), ...(await readSettingNames(tx, type))]);
  return { names, gates, counts, oldest };
}

function viewOf(queue: QueueName, { gates, counts, oldest }: KnownQueues): QueueView {
  const gate = gates.get(gateKey(queue));
  const count = queue.type === "queue" ? (counts.get(queue.name) ?? noCounts) : null;
  return {
    ...queue,
    limits: { running: gate?.maxUsed ?? null, startRate: gate?.rate ?? null },
    pause: gate?.isPaused ? gate.pause : null,
    leased: gate?.used ?? (count === null ? 0 : count.offered + count.running),
    counts: count,
    oldestReadyAt: oldest.get(queue.name) ?? null,
  };
}

const noKinds: ReadonlyMap<string, KindFacts | null> = new Map();

const noCounts: QueueCounts = {
  ...{ blocked: 0, scheduled: 0, ready: 0, offered: 0, running: 0, parked: 0 },
  ...{ succeeded: 0, cancelled: 0, dead: 0, submitted: 0, submittedLastMinute: 0, endedLastMinute: 0 },
};

function gateDetails(gate: GateRow | null): Record<string, unknown> {
  if (gate === null) return {};
  const { maxUsed, rate, isPaused, pause } = gate;
  return { maxUsed, rate, isPaused, ...(isPaused ? { resumeAt: pause?.resumeAt ?? null } : {}) };
}

function queueNotFound({ type, name }: QueueName): DomainError {
  return new DomainError("QUEUE_NOT_FOUND", {
    message: `There is no such ${type}: ${name}`,
    details: { id: name, type },
    suggestion: `List them with \`muster ${type} list\`; one is there as soon as a job, a limit or a pause names it.`,
  });
}
