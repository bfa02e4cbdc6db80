import type { Coordinator } from "../domain/context.ts";
import type { ReadyCount, Ride } from "../domain/submit.ts";
import { peekGates, peekReady } from "../store/claim.ts";
import { readReadyShapes, shapeOfRow } from "../store/ready-shapes.ts";
import { call, runInOrg } from "../store/statement.ts";
import {
  type ClaimContext,
  type Claimed,
  claimPlan,
  claimThroughGates,
  learn,
  loseOutcome,
} from "./claims.ts";
import { heldOf } from "./grants.ts";
import { headOf, type ReadyNews } from "./lines.ts";
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
import { hearNews, isShared, newOrgLine, type OrgLine } from "./org-line.ts";
import { offerWithRest } from "./rest.ts";
import { planRide, rideOf } from "./rides.ts";
import { Routes } from "./routes.ts";

/** Jobs that one claim takes at most: one costs what a hundred of its jobs do, however few there are. */
const maxClaim = 1_000;

/** The same while another org claims too: the most that one waits for is a claim of another. */
const sharedClaim = 100;

/** Claims of one org under way at once. With two the second would see rows that the first has locked, and skip them. */
const maxClaimsInFlight = 1;

/** What the dispatcher works with. */
export type DispatchContext = Pick<Coordinator, "db" | "newId" | "wakes" | "log" | "documents"> & {
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
    hearNews(org, ready);
    this.#schedule(orgId, org);
  }

  /**
   * A claim of jobs that goes with the transaction that inserts them, when nothing else is to be claimed; null: they are
   * announced after it. Who asked must say what became of it.
   */
  ride(orgId: string, ready: readonly ReadyCount[], jobIds: readonly string[]): Ride | null {
    const org = this.#orgs.get(orgId);
    const plan = org && !this.#isStopped ? planRide(org, ready) : null;
    if (!org || !plan) return null;
    org.inFlight++;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#cycles.add(promise);
    const { gates } = org;
    const context = {
      pool: this.#context.db.hot,
      newId: this.#context.newId,
      orgId,
      gates,
      version: gates.version,
    };
    return rideOf(context, plan, ready, jobIds, {
      deliver: async (claimed) => {
        if (claimed.isOutdated) void this.refresh(orgId);
        await this.#deliver(orgId, org, claimed);
      },
      ended: () => {
        this.#ended(orgId, org, false);
        this.#cycles.delete(promise);
        resolve();
      },
    });
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
      org = newOrgLine();
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
      this.#ended(orgId, org, goesOn);
    }
  }

  #ended(orgId: string, org: OrgLine, goesOn: boolean): void {
    org.inFlight--;
    if (!goesOn && !org.isDirty) return;
    org.isDirty = false;
    this.#schedule(orgId, org);
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
      isShared(this.#orgs.values(), org, this.#context.nowMs()) ? sharedClaim : maxClaim,
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
    this.#missed.note(orgId, learn(org.ready, claimed, isAlone));
    await this.#deliver(orgId, org, claimed);
    if (claimed.isOutdated) void this.refresh(orgId);
    return claimed.grants.length > 0 || claimed.isOutdated;
  }

  // Offers what was claimed, and tells the feed.
  async #deliver(orgId: string, org: OrgLine, { plan, grants }: Claimed): Promise<void> {
    if (grants.length === 0) return;
    org.claimedMs = this.#context.nowMs();
    await offerWithRest(this.#context, orgId, grants, (some) => this.#offer(org, plan, some));
    this.#context.wakes.changed(
      orgId,
      grants.map((grant) => grant.fence.jobId),
    );
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
      loseOutcome(error, plan);
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
