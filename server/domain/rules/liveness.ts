/**
 * Who is alive, and when silence means death: the only place that judges by time whether a worker lives.
 *
 * A link, as the coordinator that holds it sees it:
 *
 *   Hello ──► attached ◄── echoed heartbeat ──┐
 *                │ no echoed heartbeat for     │
 *                │ stale_after                 │
 *                ▼                             │
 *              stale ─────────────────────────►┘
 *                │ nothing heard either, for three times as long
 *                ▼
 *              silent    the coordinator ends it: its worker is elsewhere, or gone
 *
 *   attached, stale ──► closed     its stream ended, or either side ended the link
 *   attached, stale ──► replaced   a newer Hello of the same worker: `link_epoch` fences the older one off
 *
 * Only a heartbeat whose renewal was committed, and that is therefore echoed, counts as life. None of these
 * phases touches a lease: silence is not death. That is judged for each lease by the database's clock, when
 * `links.seen_at` is `reclaim_after` old and the expiry gate below is open.
 *
 * An attached link gets offers unless something holds them back: its worker drains; it left an offer without an
 * answer (until its next heartbeat); it leaves a cancel without an answer (suspect, until it answers or attaches
 * anew); or its worker is quarantined (until an operator clears it). It keeps what it holds all the same.
 */

/** Where a link is in its life. */
export type LinkPhase = "attached" | "stale" | "silent" | "closed" | "replaced";

/** A link's life. Times are milliseconds of the coordinator's steady clock. */
export interface LinkLife {
  readonly phase: LinkPhase;
  /** When its last echoed heartbeat, or its Hello, was committed. */
  readonly echoedMs: number;
  /** When its worker last said anything. */
  readonly heardMs: number;
}

/** What happens to a link. */
export type LinkEvent =
  | { readonly type: "heard"; readonly nowMs: number }
  | { readonly type: "echoed"; readonly nowMs: number }
  | { readonly type: "tick"; readonly nowMs: number; readonly staleMs: number }
  | { readonly type: "closed" }
  | { readonly type: "newer-hello" };

/** The life of a link whose Hello was committed. */
export function attachedAt(nowMs: number): LinkLife {
  return { phase: "attached", echoedMs: nowMs, heardMs: nowMs };
}

/** What an event makes of a link's life. A link that is closed or replaced stays so. */
export function nextLife(life: LinkLife, event: LinkEvent): LinkLife {
  if (life.phase === "closed" || life.phase === "replaced") return life;
  switch (event.type) {
    case "heard":
      return { ...life, heardMs: event.nowMs };
    case "echoed":
      return { phase: "attached", echoedMs: event.nowMs, heardMs: event.nowMs };
    case "tick": {
      if (event.nowMs - life.echoedMs <= event.staleMs) return life;
      const isSilent = event.nowMs - life.heardMs > 3 * event.staleMs;
      return { ...life, phase: isSilent ? "silent" : "stale" };
    }
    case "closed":
      return { ...life, phase: "closed" };
    case "newer-hello":
      return { ...life, phase: "replaced" };
  }
}

/** Takeovers of a live link by another process within this time ... */
export const flipWindowMs = 10 * 60_000;

/** ... that are so many mean that two processes fight for one identity. */
export const quarantineFlips = 3;

/** The link that a Hello finds. */
export interface FoundLink {
  readonly bootId: string;
  readonly hostBootId: string;
  readonly isAttached: boolean;
  readonly transport: "stream" | "poll";
  /** Since its last sign of life. */
  readonly silentMs: number;
  readonly flips: number;
  /** Since the first of these flips; null without one. */
  readonly flipsAgeMs: number | null;
}

/** What a Hello says of its process. */
export interface ComingLink {
  readonly bootId: string;
  readonly hostBootId: string;
  readonly areOrphansDead: boolean;
}

/** What a Hello makes of the flips of a worker's link. */
export interface FlipJudgement {
  /** Another process runs under the same identity. */
  readonly isFlip: boolean;
  readonly flips: number;
  /** The count begins anew. */
  readonly isFirst: boolean;
  readonly isQuarantined: boolean;
}

/**
 * Judges whether a Hello takes a live link over from another process. A restarted worker does not: the stream of
 * its earlier boot has ended. A polling link has no stream whose end would be seen, so there the word of a
 * process on the same host counts that the earlier one is dead.
 */
export function judgeFlip(found: FoundLink, coming: ComingLink, staleMs: number): FlipJudgement {
  const isProvenDead =
    found.transport === "poll" && coming.areOrphansDead && found.hostBootId === coming.hostBootId;
  const isFlip =
    found.isAttached && found.bootId !== coming.bootId && found.silentMs <= staleMs && !isProvenDead;
  if (!isFlip) return { isFlip, flips: found.flips, isFirst: false, isQuarantined: false };
  const isFirst = found.flips === 0 || found.flipsAgeMs === null || found.flipsAgeMs > flipWindowMs;
  const flips = isFirst ? 1 : found.flips + 1;
  return { isFlip, flips, isFirst, isQuarantined: flips >= quarantineFlips };
}

/** Losses of different jobs within this time are the worker's doing when they are too many. */
export const lossWindowMs = 10 * 60_000;

/**
 * Whether a worker is the cause of its losses, so that it is quarantined instead of the jobs: it lost enough
 * different jobs, and at as many different times. One power cut under a worker with forty jobs is one loss of
 * the worker's, not forty. `limit` 0 turns this off.
 */
export function isLossy(losses: { readonly jobs: number; readonly times: number }, limit: number): boolean {
  return limit > 0 && losses.jobs >= limit && losses.times >= limit;
}

/** Links that must have vanished together, and their share, to take it for our own trouble. */
export const fleetLinks = 20;
export const fleetShare = 0.3;

/** How often a coordinator shows life. */
export const coordinatorLifeMs = 5_000;

/** How far back the first look at an org goes. */
const firstLookMs = 3_600_000;

/** Stands for the links of all orgs together. */
const everyOrg = "*";

/** What one pass saw of an org's links. */
export interface FleetCount {
  /** Links that are attached, or whose workers hold leases. */
  readonly links: number;
  /** Those of them that fell silent since the last fleet event, or lately. */
  readonly vanished: number;
}

interface FleetEvent {
  /** Nothing expires before. */
  readonly untilMs: number;
  /** Links that were last seen before it vanished in this event. */
  readonly lastMs: number;
}

/**
 * Whether leases may expire. Pure: an event in, the next state out.
 *
 *   open ──► waiting   own start; an outage: a pass or a renewal that failed, or passes that did not come (the
 *                      database hung, or this process stood still); links that vanished together
 *   waiting ──► open   after the grace
 *
 * A fleet event of one org holds up that org; one of all orgs together, all. What vanished in it does not count
 * against jobs, also when it expires later.
 */
export interface ExpiryGate {
  /** Nothing of any org expires before. */
  readonly untilMs: number;
  readonly passedMs: number;
  readonly counts: ReadonlyMap<string, FleetCount>;
  readonly total: FleetCount;
  readonly events: ReadonlyMap<string, FleetEvent>;
}

/** What opens and closes the gate. */
export type GateEvent =
  | { readonly type: "outage"; readonly nowMs: number }
  | { readonly type: "pass"; readonly nowMs: number }
  | { readonly type: "counted"; readonly nowMs: number; readonly orgId: string; readonly count: FleetCount };

/** The settings that the gate judges by. */
export interface GateLimits {
  readonly graceMs: number;
  readonly staleMs: number;
}

/** The gate of a coordinator that has just started: the others go on. */
export function startingGate(nowMs: number, { graceMs }: GateLimits): ExpiryGate {
  const none = { links: 0, vanished: 0 };
  return { untilMs: nowMs + graceMs, passedMs: nowMs, counts: new Map(), total: none, events: new Map() };
}

/** What an event makes of the gate. */
export function nextGate(gate: ExpiryGate, event: GateEvent, limits: GateLimits): ExpiryGate {
  const { nowMs } = event;
  const closed = { ...gate, untilMs: Math.max(gate.untilMs, nowMs + limits.graceMs) };
  switch (event.type) {
    case "outage":
      return closed;
    case "pass":
      return { ...(nowMs - gate.passedMs > limits.staleMs ? closed : gate), passedMs: nowMs };
    case "counted": {
      const known = gate.counts.get(event.orgId);
      const isNews = known?.links !== event.count.links || known.vanished !== event.count.vanished;
      // An org where nothing happens costs nothing, however many there are.
      if (!isNews && event.count.vanished === 0 && nowMs >= gateUntilMs(gate, event.orgId)) return gate;
      const before = known ?? { links: 0, vanished: 0 };
      const total = {
        links: gate.total.links + event.count.links - before.links,
        vanished: gate.total.vanished + event.count.vanished - before.vanished,
      };
      const counts = new Map(gate.counts).set(event.orgId, event.count);
      const events = new Map(gate.events);
      noteFleetEvent(events, event.orgId, event.count, nowMs, limits);
      noteFleetEvent(events, everyOrg, total, nowMs, limits);
      return { ...gate, counts, total, events };
    }
  }
}

/** Until when nothing of an org expires. */
export function gateUntilMs(gate: ExpiryGate, orgId: string): number {
  const own = gate.events.get(orgId)?.untilMs ?? 0;
  return Math.max(gate.untilMs, own, gate.events.get(everyOrg)?.untilMs ?? 0);
}

/** Whether a worker that is silent for so long vanished in a fleet event: its losses count against no job. */
export function vanishedInFleetEvent(
  gate: ExpiryGate,
  of: { readonly orgId: string; readonly silentMs: number; readonly nowMs: number },
): boolean {
  return of.nowMs - of.silentMs <= lastEventMs(gate, of.orgId);
}

/**
 * Whether a link fell silent with the coordinator that held it, which has not shown life since either: then nobody was
 * there to hear its worker, and what it loses counts against no job. `coordinatorSilentMs` null: it stopped in order, and
 * had sent its workers elsewhere.
 */
export function vanishedWithCoordinator(of: {
  readonly silentMs: number;
  readonly coordinatorSilentMs: number | null;
  readonly heartbeatMs: number;
}): boolean {
  const { silentMs, coordinatorSilentMs, heartbeatMs } = of;
  if (coordinatorSilentMs === null || coordinatorSilentMs < 1.5 * coordinatorLifeMs) return false;
  return coordinatorSilentMs > silentMs - heartbeatMs;
}

/**
 * How far back to look for links that fell silent: the time that it takes for all heartbeats of a fleet to
 * become due, longer when no pass came for a while, and never back to those of the last fleet event.
 */
export function vanishWindowMs(gate: ExpiryGate, orgId: string, nowMs: number, limits: GateLimits): number {
  const sinceEvent = nowMs - lastEventMs(gate, orgId);
  const isFirstLook = !gate.counts.has(orgId);
  return Math.round(Math.max(0, Math.min(sinceEvent, isFirstLook ? firstLookMs : limits.staleMs)));
}

function lastEventMs(gate: ExpiryGate, orgId: string): number {
  const [own, all] = [gate.events.get(orgId), gate.events.get(everyOrg)];
  return Math.max(own?.lastMs ?? Number.NEGATIVE_INFINITY, all?.lastMs ?? Number.NEGATIVE_INFINITY);
}

function noteFleetEvent(
  events: Map<string, FleetEvent>,
  scope: string,
  { links, vanished }: FleetCount,
  nowMs: number,
  { graceMs }: GateLimits,
): void {
  const last = events.get(scope);
  // All that vanishes while the gate waits belongs to the event that it waits for.
  if (last && nowMs < last.untilMs) events.set(scope, { ...last, lastMs: nowMs });
  else if (vanished >= fleetLinks && vanished >= links * fleetShare) {
    events.set(scope, { untilMs: nowMs + graceMs, lastMs: nowMs });
  }
}
