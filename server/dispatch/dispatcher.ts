import type { Coordinator } from "../domain/context.ts";
import { peekGates, peekReady } from "../store/claim.ts";
import { mayBeCommitted } from "../store/connection-errors.ts";
import { readReadyShapes, shapeOfRow } from "../store/ready-shapes.ts";
import { call, runInOrg } from "../store/statement.ts";
import { type ClaimContext, type Claimed, claimPlan, claimThroughGates, learn } from "./claims.ts";
import { GateBook } from "./gates.ts";
import { heldOf } from "./grants.ts";
import { headOf, ReadyLine, type ReadyNews } from "./lines.ts";
import type { Grant, Link } from "./link.ts";
import {
  assign,
  assignLine,
  candidates,
  keepFree,
  overlap,
  type PlannedClaim,
  type ServedLine,
} from "./matcher.ts";
import { Missed } from "./missed.ts";
import { offerWithParents } from "./parents.ts";
import { Routes } from "./routes.ts";

/** Jobs that one claim takes at most. */
const maxClaim = 500;

/** The same while another org claims too: the most that one waits for is a claim of another. */
const sharedClaim = 100;

/** For how long an org counts as claiming after it did, in milliseconds. */
const claimingMs = 1_000;

/** Claims of one org under way at once. With two the second would see rows that the first has locked, and skip them. */
const maxClaimsInFlight = 1;

/** What dispatch knows of an org. */
interface OrgLine {
  readonly links: Map<string, Link>;
  /** Grows when links come or go. */
  fleet: number;
  /** Shapes that may have ready jobs: a hint, made right by the poll. */
  readonly ready: Map<bigint, ReadyLine>;
  readonly gates: GateBook;
  gateTimer: NodeJS.Timeout | undefined;
  inFlight: number;
  /** When it last claimed something. */
  claimedMs: number;
  isScheduled: boolean;
  /** Something changed while claims were under way. */
  isDirty: boolean;
  /** The store is being asked; `again`: something changed since. */
  refreshing: { readonly done: Promise<void>; again: boolean } | null;
}

/** What the dispatcher works with. */
export type DispatchContext = Pick<Coordinator, "db" | "newId" | "wakes" | "log"> & {
  /** The age of a heartbeat that is late. */
  readonly staleMs: number;
  /** Milliseconds of a steady clock, for waits inside this process alone. */
  readonly nowMs: () => number;
};

/**
 * Pushes ready jobs to free workers. A push only ever delivers rows claimed
 * from the one ordered line: fresh work never overtakes the backlog, and no
 * query is made for an idle worker.
 */
export class Dispatcher {
  /** Where jobs go that name a session. */
  readonly routes: Routes;
  readonly #context: DispatchContext;
  readonly #missed: Missed;
  readonly #orgs = new Map<string, OrgLine>();
  /** What is under way: a stop waits for it. */
  readonly #cycles = new Set<Promise<void>>();
  #isStopped = false;

  constructor(context: DispatchContext) {
    this.#context = context;
    this.#missed = new Missed({ ...context, found: (orgId, ready) => this.announce(orgId, ready) });
    this.routes = new Routes({ ...context, changed: (orgId) => this.#reroute(orgId) });
  }

  /** Adds a link; an older one of the same worker is told that it was replaced. */
  attach(link: Link): void {
    const org = this.#org(link.orgId);
    const older = org.links.get(link.workerId);
    if (older && older.linkEpoch > link.linkEpoch) {
      link.apply({ type: "newer-hello" });
      link.port.goAway("replaced", "a newer link of this worker took over");
      return;
    }
    if (older) {
      older.apply({ type: "newer-hello" });
      older.port.goAway("replaced", "a newer link of this worker took over");
    }
    org.links.set(link.workerId, link);
    org.fleet++;
    void this.refresh(link.orgId);
  }

  /** Removes a link, if it is still the worker's. */
  detach(link: Link): void {
    link.apply({ type: "closed" });
    const org = this.#orgs.get(link.orgId);
    if (org?.links.get(link.workerId) !== link) return;
    org.links.delete(link.workerId);
    org.fleet++;
    if (org.links.size === 0) clearTimeout(org.gateTimer);
  }

  /** All links of this coordinator. */
  *links(): Generator<Link> {
    for (const org of this.#orgs.values()) yield* org.links.values();
  }

  /** The links of an org, by worker. */
  linksOf(orgId: string): ReadonlyMap<string, Link> {
    return this.#orgs.get(orgId)?.links ?? new Map();
  }

  /** The orgs that have links here. */
  orgs(): string[] {
    return [...this.#orgs].filter(([, org]) => org.links.size > 0).map(([orgId]) => orgId);
  }

  /** Capacity became free. */
  wake(orgId: string): void {
    const org = this.#orgs.get(orgId);
    if (!org || org.links.size === 0) return;
    org.gates.someLeft();
    this.#schedule(orgId, org);
  }

  /** Jobs became ready: so many of a shape, or an unknown number. */
  announce(orgId: string, ready: Iterable<ReadyNews>): void {
    const org = this.#orgs.get(orgId);
    if (!org || org.links.size === 0) return;
    for (const news of ready) {
      const line = org.ready.get(news.shape.shapeId);
      if (line) line.hear(news);
      else org.ready.set(news.shape.shapeId, new ReadyLine(news.shape, news.count));
    }
    this.#schedule(orgId, org);
  }

  /** Asks the store which shapes have ready jobs and what the gates are, then matches. Never rejects. */
  async refresh(orgId: string): Promise<void> {
    const org = this.#orgs.get(orgId);
    if (!org || org.links.size === 0 || this.#isStopped) return;
    // Who asks while the store is asked waits for a look that began after.
    if (org.refreshing) {
      org.refreshing.again = true;
      return org.refreshing.done;
    }
    const refreshing = { done: Promise.resolve(), again: false };
    refreshing.done = this.#look(orgId, org, refreshing);
    org.refreshing = refreshing;
    return refreshing.done;
  }

  /** Claims nothing more. Resolves when no claim is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#missed.stop();
    for (const org of this.#orgs.values()) clearTimeout(org.gateTimer);
    await Promise.all(this.#cycles);
  }

  async #look(orgId: string, org: OrgLine, refreshing: { again: boolean }): Promise<void> {
    try {
      do {
        refreshing.again = false;
        const before = new Map([...org.ready].map(([shapeId, line]) => [shapeId, line.news]));
        const [rows = [], gates = []] = await runInOrg(this.#context.db.hot, orgId, [
          call(readReadyShapes, { org: orgId }),
          call(peekGates, { org: orgId }),
        ]);
        org.gates.read(gates);
        const shapes = rows.map(shapeOfRow);
        void this.routes.keep(orgId, shapes);
        const found = new Set(shapes.map((shape) => shape.shapeId));
        for (const [shapeId, news] of before) {
          if (!found.has(shapeId) && org.ready.get(shapeId)?.news === news) org.ready.delete(shapeId);
        }
        this.announce(
          orgId,
          shapes.map((shape) => ({ shape, count: Number.POSITIVE_INFINITY })),
        );
      } while (refreshing.again && !this.#isStopped);
    } catch (error) {
      this.#context.log.warn(
        { err: error, orgId },
        "ready shapes could not be read; the next poll tries again",
      );
    } finally {
      org.refreshing = null;
    }
  }

  // Who may run the jobs of a line is looked at again.
  #reroute(orgId: string): void {
    const org = this.#orgs.get(orgId);
    if (!org) return;
    org.fleet++;
    this.wake(orgId);
  }

  #org(orgId: string): OrgLine {
    let org = this.#orgs.get(orgId);
    if (!org) {
      org = {
        links: new Map(),
        fleet: 0,
        ready: new Map(),
        gates: new GateBook(),
        gateTimer: undefined,
        inFlight: 0,
        claimedMs: Number.NEGATIVE_INFINITY,
        isScheduled: false,
        isDirty: false,
        refreshing: null,
      };
      this.#orgs.set(orgId, org);
    }
    return org;
  }

  #schedule(orgId: string, org: OrgLine): void {
    if (this.#isStopped) return;
    if (org.inFlight >= maxClaimsInFlight) {
      org.isDirty = true;
      return;
    }
    if (org.isScheduled) return;
    org.isScheduled = true;
    setImmediate(() => {
      org.isScheduled = false;
      const running = this.#cycle(orgId, org).then(() => void this.#cycles.delete(running));
      this.#cycles.add(running);
    });
  }

  async #cycle(orgId: string, org: OrgLine): Promise<void> {
    if (this.#isStopped || org.inFlight >= maxClaimsInFlight || org.ready.size === 0) return;
    org.inFlight++;
    let goesOn = false;
    try {
      goesOn = await this.#match(orgId, org);
    } catch (error) {
      this.#context.log.warn({ err: error, orgId }, "a claim failed; the next poll tries again");
    } finally {
      org.inFlight--;
      if (goesOn || org.isDirty) {
        org.isDirty = false;
        this.#schedule(orgId, org);
      }
    }
  }

  // One round: look at the heads, deal them, claim, offer. True when there may be more to do at once.
  async #match(orgId: string, org: OrgLine): Promise<boolean> {
    if (org.gates.version === null) {
      const [rows = []] = await runInOrg(this.#context.db.hot, orgId, [call(peekGates, { org: orgId })]);
      org.gates.read(rows);
    }
    const { version } = org.gates;
    if (org.gates.isHeldBack) return false;
    const links = [...org.links.values()];
    const lines = [...org.ready.values()].map((line): ServedLine => {
      const route = this.routes.routeOf(orgId, line.shape);
      const servers = line.servers(org.fleet, () => candidates(line.shape, links, route));
      const sessionId = route.to === "worker" ? route.sessionId : null;
      return { line, servers, sessionId, gates: org.gates.keysOf(line.shape) };
    });
    const open = lines.filter(({ line }) => !org.gates.isClosed(line.shape));
    keepFree(open, links);
    const free = new Map(
      links.map((link) => [link, link.freeSlots()] as const).filter(([, slots]) => slots > 0),
    );
    const demand = Math.min(
      this.#isShared(org) ? sharedClaim : maxClaim,
      [...free.values()].reduce((sum, slots) => sum + slots, 0),
    );
    if (demand === 0) return false;
    const servable = open.filter(({ servers }) => overlap(servers, free));
    this.#awaitGates(orgId, org);
    const [only, ...others] = servable;
    if (!only) return false;
    const isAlone = others.length === 0;
    if (!isAlone && (await this.#peek(orgId, org, servable, demand))) return true;
    const plan = (rooms?: Map<string, number>) =>
      isAlone
        ? assignLine(only, [...free.keys()], Math.min(demand, only.line.expected), rooms)
        : assign(servable, [...free.keys()], demand, rooms);
    const keys = [...new Set(servable.flatMap(({ gates }) => gates))].sort();
    const claimed = await this.#claim(orgId, { gates: org.gates, version }, keys, plan);
    if (claimed.grants.length > 0) org.claimedMs = this.#context.nowMs();
    this.#missed.note(orgId, learn(org.ready, claimed, isAlone));
    const offer = (grants: readonly Grant[]) => this.#offer(org, claimed.plan, grants);
    await offerWithParents(this.#context, orgId, claimed.grants, offer);
    this.#context.wakes.changed(
      orgId,
      claimed.grants.map((grant) => grant.fence.jobId),
    );
    if (claimed.isOutdated) void this.refresh(orgId);
    return claimed.grants.length > 0 || claimed.isOutdated;
  }

  #isShared(own: OrgLine): boolean {
    const sinceMs = this.#context.nowMs() - claimingMs;
    return this.#orgs.values().some((org) => org !== own && org.claimedMs > sinceMs);
  }

  // Looks at the heads of lines that have few. True when what came is out of order by now.
  async #peek(
    orgId: string,
    org: OrgLine,
    servable: readonly ServedLine[],
    demand: number,
  ): Promise<boolean> {
    const asked = servable.flatMap(({ line }) => {
      const count = line.wanted(demand);
      return count > 0 ? [{ line, news: line.news, disorder: line.disorder, count }] : [];
    });
    if (asked.length === 0) return false;
    const [rows = []] = await runInOrg(this.#context.db.hot, orgId, [
      call(peekReady, {
        org: orgId,
        shapes: asked.map(({ line }) => line.shape.shapeId.toString()),
        limits: asked.map(({ count }) => count),
      }),
    ]);
    const heads = Map.groupBy(rows, (row) => BigInt(String(row["shape"])));
    for (const { line, news, disorder, count } of asked) {
      if (line.disorder !== disorder) continue;
      const own = (heads.get(line.shape.shapeId) ?? []).map(headOf);
      line.see(own, count);
      if (line.news !== news) line.isWhole = false;
      else if (own.length === 0) org.ready.delete(line.shape.shapeId);
    }
    return asked.some(({ line, disorder }) => line.disorder !== disorder);
  }

  async #claim(
    orgId: string,
    gates: Pick<ClaimContext, "gates" | "version">,
    keys: readonly string[],
    makePlan: (rooms?: Map<string, number>) => readonly PlannedClaim[],
  ): Promise<Claimed> {
    const context = { pool: this.#context.db.hot, newId: this.#context.newId, orgId, ...gates };
    let plan: readonly PlannedClaim[] = [];
    try {
      if (keys.length > 0) {
        return await claimThroughGates(context, keys, (rooms) => {
          plan = makePlan(rooms);
          return plan;
        });
      }
      plan = makePlan();
      if (plan.length === 0) return { plan, grants: [], isOutdated: false };
      return await claimPlan(context, plan);
    } catch (error) {
      // What these links hold is not known any more. A Hello counts it, and no grant of an older epoch comes after.
      if (mayBeCommitted(error)) {
        for (const link of new Set(plan.flatMap(({ slots }) => slots))) {
          link.port.goAway("restart", "the outcome of a grant is unknown: attach again");
        }
      }
      for (const { line } of plan) line.forget();
      throw error;
    } finally {
      for (const { line, slots } of plan) for (const link of slots) link.unreserve(line.shape);
    }
  }

  // A rate, or a pause with an end, opens by itself.
  #awaitGates(orgId: string, org: OrgLine): void {
    clearTimeout(org.gateTimer);
    const opensInMs = org.gates.opensInMs();
    if (opensInMs === null) return;
    org.gateTimer = setTimeout(() => void this.refresh(orgId), Math.max(1, Math.min(opensInMs, 60_000)));
    org.gateTimer.unref();
  }

  #offer(org: OrgLine, plan: readonly PlannedClaim[], grants: readonly Grant[]): void {
    const planned = new Set(plan.flatMap(({ slots }) => slots));
    const nowMs = this.#context.nowMs();
    for (const [workerId, own] of Map.groupBy(grants, (grant: Grant) => grant.fence.workerId)) {
      const link = org.links.get(workerId);
      // Claimed for a link that has gone meanwhile: its next Hello, or silence, gives them back.
      if (!link || !planned.has(link)) continue;
      link.offerSequence++;
      for (const grant of own) link.hold(heldOf(grant, link.offerSequence, nowMs));
      link.port.offer(link.offerSequence, own);
    }
  }
}
