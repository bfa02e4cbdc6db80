import type { Row } from "postgres";
import type { Coordinator } from "../domain/context.ts";
import type { InternedShape } from "../domain/rules/shapes.ts";
import { claimShape, peekReady } from "../store/claim.ts";
import { mayBeCommitted } from "../store/connection-errors.ts";
import { readReadyShapes, shapeOfRow } from "../store/ready-shapes.ts";
import { call, runInOrg } from "../store/statement.ts";
import type { Grant, Link } from "./link.ts";
import { assign, candidates, type Head, inOrder, keepFree, type PlannedClaim } from "./matcher.ts";

/** Jobs that one claim takes at most. */
const maxClaim = 500;

/** Claims of one org under way at once. With two the second would see rows that the first has locked, and skip them. */
const maxClaimsInFlight = 1;

/** Jobs to ask for when it is not known how many are ready. */
const firstProbe = 4;

/** A shape that may have ready jobs. */
interface ReadyLine {
  readonly shape: InternedShape;
  /** How many jobs the next claim asks for at most: a hint, so that one new job does not lock a hundred links. */
  expected: number;
  /** Grows with each piece of news, so that a claim that found nothing does not forget what came meanwhile. */
  news: number;
}

/** What dispatch knows of an org. */
interface OrgLine {
  readonly links: Map<string, Link>;
  /** Shapes that may have ready jobs: a hint, made right by the poll. */
  readonly ready: Map<bigint, ReadyLine>;
  inFlight: number;
  isScheduled: boolean;
  /** Something changed while claims were under way. */
  isDirty: boolean;
}

/** What the dispatcher works with. */
export type DispatchContext = Pick<Coordinator, "db" | "newId" | "wakes" | "log"> & {
  /** Milliseconds of a steady clock, for waits inside this process alone. */
  readonly nowMs: () => number;
};

/**
 * Pushes ready jobs to free workers. A push only ever delivers rows claimed
 * from the one ordered line: fresh work never overtakes the backlog, and no
 * query is made for an idle worker.
 */
export class Dispatcher {
  readonly #context: DispatchContext;
  readonly #orgs = new Map<string, OrgLine>();
  /** What is under way: a stop waits for it. */
  readonly #cycles = new Set<Promise<void>>();
  #isStopped = false;

  constructor(context: DispatchContext) {
    this.#context = context;
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
    void this.refresh(link.orgId);
  }

  /** Removes a link, if it is still the worker's. */
  detach(link: Link): void {
    link.apply({ type: "closed" });
    const org = this.#orgs.get(link.orgId);
    if (org?.links.get(link.workerId) === link) org.links.delete(link.workerId);
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
    if (org && org.links.size > 0) this.#schedule(orgId, org);
  }

  /** Jobs became ready: so many of a shape, or an unknown number. */
  announce(orgId: string, ready: Iterable<{ readonly shape: InternedShape; readonly count: number }>): void {
    const org = this.#orgs.get(orgId);
    if (!org || org.links.size === 0) return;
    for (const { shape, count } of ready) {
      const line = org.ready.get(shape.shapeId);
      if (line) {
        line.expected += count;
        line.news++;
      } else org.ready.set(shape.shapeId, { shape, expected: count, news: 0 });
    }
    this.#schedule(orgId, org);
  }

  /** Asks the store which shapes have ready jobs, then matches. Never rejects. */
  async refresh(orgId: string): Promise<void> {
    const org = this.#orgs.get(orgId);
    if (!org || org.links.size === 0 || this.#isStopped) return;
    try {
      const [rows] = await runInOrg(this.#context.db.hot, orgId, [call(readReadyShapes, { org: orgId })]);
      this.announce(
        orgId,
        (rows ?? []).map((row) => ({ shape: shapeOfRow(row), count: Number.POSITIVE_INFINITY })),
      );
    } catch (error) {
      this.#context.log.warn(
        { err: error, orgId },
        "ready shapes could not be read; the next poll tries again",
      );
    }
  }

  /** Claims nothing more. Resolves when no claim is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#cycles);
  }

  #org(orgId: string): OrgLine {
    let org = this.#orgs.get(orgId);
    if (!org) {
      org = { links: new Map(), ready: new Map(), inFlight: 0, isScheduled: false, isDirty: false };
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
    if (this.#isStopped || org.inFlight >= maxClaimsInFlight) return;
    const links = [...org.links.values()];
    keepFree(
      [...org.ready.values()].map(({ shape }) => shape),
      links,
    );
    const free = links.filter((link) => link.freeSlots() > 0);
    const servable = [...org.ready.values()].filter(({ shape }) => candidates(shape, free).length > 0);
    if (servable.length === 0) return;
    org.inFlight++;
    let claimed = 0;
    try {
      const demand = Math.min(
        maxClaim,
        free.reduce((sum, link) => sum + link.freeSlots(), 0),
      );
      const heads = await this.#heads(orgId, org, servable, demand);
      const plan = assign(heads, new Map(servable.map(({ shape }) => [shape.shapeId, shape])), free);
      if (plan.length > 0) claimed = await this.#claim(orgId, org, plan);
    } catch (error) {
      this.#context.log.warn({ err: error, orgId }, "a claim failed; the next poll tries again");
    } finally {
      org.inFlight--;
      if (claimed > 0 || org.isDirty) {
        org.isDirty = false;
        this.#schedule(orgId, org);
      }
    }
  }

  // With one line there is nothing to merge: as many as there is demand, and the claim finds out.
  async #heads(
    orgId: string,
    org: OrgLine,
    servable: readonly ReadyLine[],
    demand: number,
  ): Promise<bigint[]> {
    const [only, ...others] = servable;
    if (only && others.length === 0) {
      return Array.from({ length: Math.min(demand, only.expected) }, () => only.shape.shapeId);
    }
    const shapes = servable.map(({ shape }) => shape.shapeId.toString());
    const news = servable.map((line) => line.news);
    const [rows] = await runInOrg(this.#context.db.hot, orgId, [
      call(peekReady, { org: orgId, shapes, limit: demand }),
    ]);
    const heads = (rows ?? []).map(headOf);
    const found = new Set(heads.map((head) => head.shapeId));
    for (const [index, line] of servable.entries()) {
      if (!found.has(line.shape.shapeId) && line.news === news[index]) org.ready.delete(line.shape.shapeId);
    }
    return heads.sort(inOrder).map((head) => head.shapeId);
  }

  async #claim(orgId: string, org: OrgLine, plan: readonly PlannedClaim[]): Promise<number> {
    const nonce = this.#context.newId();
    const news = plan.map(({ shape }) => org.ready.get(shape.shapeId)?.news);
    try {
      const results = await runInOrg(
        this.#context.db.hot,
        orgId,
        plan.map(({ shape, slots }, index) => {
          const links = [...new Set(slots)];
          return call(claimShape, {
            org: orgId,
            shape: shape.shapeId.toString(),
            limit: slots.length,
            slots: slots.map((link) => link.workerId),
            workers: links.map((link) => link.workerId),
            epochs: links.map((link) => link.linkEpoch),
            nonce,
            queue: shape.queue,
            tally: this.#context.newId(),
            n: index + 1,
          });
        }),
      );
      const grants: Grant[] = [];
      for (const [index, { shape, slots }] of plan.entries()) {
        const rows = results[index] ?? [];
        grants.push(...rows.map((row) => ({ ...grantOf(row), isAlone: shape.isAlone })));
        const line = org.ready.get(shape.shapeId);
        if (!line) continue;
        line.expected -= rows.length;
        if (rows.length === slots.length) {
          // As many as were expected, and there may be more: ask for a few, then for more.
          if (line.expected < 1) line.expected = Math.max(firstProbe, 4 * rows.length);
        } else if (line.news === news[index]) {
          // Fewer than asked: the line is empty, as far as this claim could see.
          org.ready.delete(shape.shapeId);
        } else line.expected = Number.POSITIVE_INFINITY;
      }
      this.#offer(org, new Set(plan.flatMap(({ slots }) => slots)), grants);
      this.#context.wakes.changed(
        orgId,
        grants.map((grant) => grant.fence.jobId),
      );
      return grants.length;
    } catch (error) {
      // What these links hold is not known any more. A Hello counts it, and no grant of an older epoch comes after.
      if (mayBeCommitted(error)) {
        for (const link of new Set(plan.flatMap(({ slots }) => slots))) {
          link.port.goAway("restart", "the outcome of a grant is unknown: attach again");
        }
      }
      throw error;
    } finally {
      for (const { shape, slots } of plan) for (const link of slots) link.unreserve(shape);
    }
  }

  #offer(org: OrgLine, planned: ReadonlySet<Link>, grants: readonly Grant[]): void {
    const nowMs = this.#context.nowMs();
    for (const [workerId, own] of Map.groupBy(grants, (grant) => grant.fence.workerId)) {
      const link = org.links.get(workerId);
      // Claimed for a link that has gone meanwhile: its next Hello, or silence, gives them back.
      if (!link || !planned.has(link)) continue;
      link.offerSequence++;
      for (const { fence, points, isExclusive, isAlone } of own) {
        link.hold({
          fence,
          points,
          isExclusive,
          isAlone,
          offerSequence: link.offerSequence,
          offeredAtMs: nowMs,
          state: "offered",
          missed: 0,
          acceptedAtHeartbeat: 0,
          cancelSentMs: null,
          isCancelAcknowledged: false,
          hasProgress: false,
          reporting: null,
          accepted: null,
        });
      }
      link.port.offer(link.offerSequence, own);
    }
  }
}

function headOf(row: Row): Head {
  return {
    shapeId: BigInt(String(row["shape"])),
    priority: Number(row["priority"]),
    readyAt: Number(row["ready"]),
  };
}

function grantOf(row: Row): Omit<Grant, "isAlone"> {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]));
  return {
    fence: {
      jobId: String(row["job"]),
      attempt: Number(row["attempt"]),
      leaseId: String(row["lease"]),
      workerId: String(row["worker"]),
    },
    kind: String(row["kind"]),
    title: String(row["title"]),
    payload: bytesOf(row["payload"]),
    queue: String(row["queue"]),
    points: Number(row["points"]),
    failures: Number(row["failures"]),
    maxAttempts: Number(row["tries"]),
    softTimeoutMs: number("soft"),
    hardTimeoutMs: number("hard"),
    leaseTtlMs: Number(row["ttl"]),
    isExclusive: row["exclusive"] === true,
    labels: labelsOf(row["labels"]),
    project: row["project"] === null ? null : String(row["project"]),
    skills: Array.isArray(row["skills"]) ? row["skills"].map(String) : [],
  };
}

function bytesOf(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("a payload is bytes");
  return value;
}

function labelsOf(value: unknown): Record<string, string> {
  if (value === null || typeof value !== "object") return {};
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]));
}
