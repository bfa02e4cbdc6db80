import type { InternedShape } from "../domain/rules/shapes.ts";
import { type Head, merge, type ReadyLine } from "./lines.ts";
import type { Link } from "./link.ts";
import { plainRoute, type Route } from "./routes.ts";

/** For how long a job that fits on no link is passed by others, before a link is kept free for it. */
export const starvedMs = 30_000;

/** A claim to make: one slot for each job of a shape. */
export interface PlannedClaim {
  readonly line: ReadyLine;
  /** The session that its jobs go to; null: none. */
  readonly sessionId: string | null;
  readonly slots: readonly Link[];
}

/** A line with the links that may run its jobs. */
export interface ServedLine {
  readonly line: ReadyLine;
  readonly servers: ReadonlySet<Link>;
  /** The session that its jobs go to; absent: none. */
  readonly sessionId?: string | null;
  /** The gates that it must pass. */
  readonly gates: readonly string[];
}

/** The links that may run a shape when they are empty. Without a route no session is known. */
export function candidates(
  shape: InternedShape,
  links: readonly Link[],
  route: Route = plainRoute(shape),
): Link[] {
  const isReached = ({ workerId }: Link) =>
    route.to === "any" || (route.to === "worker" && route.workerId === workerId);
  return links.filter(
    (link) => isReached(link) && !shape.avoid.includes(link.workerId) && link.canServe(shape),
  );
}

/** Whether a worker of a line has a free slot. Few have one when all are busy. */
export function overlap(servers: ReadonlySet<Link>, free: ReadonlyMap<Link, number>): boolean {
  return servers.size < free.size
    ? some(servers, (link) => free.has(link))
    : some(free.keys(), (link) => servers.has(link));
}

function some<T>(items: Iterable<T>, is: (item: T) => boolean): boolean {
  for (const item of items) if (is(item)) return true;
  return false;
}

/**
 * Keeps a link free for each shape that runs alone, the least loaded of those
 * that may run it: on busy workers its turn would never come. Chosen anew each
 * time, so that one long job does not hold it up; a link is let go when the
 * shape has no ready job any more.
 */
export function keepFree(lines: readonly ServedLine[], links: readonly Link[]): void {
  const alone = lines.filter(({ line }) => line.shape.isAlone);
  const kept = new Map(alone.length === 0 ? [] : links.map((link) => [link, link.keptFor]));
  for (const link of links) link.keptFor = null;
  for (const { line, servers } of alone) {
    const free = [...servers].filter((link) => link.isOpen && link.keptFor === null);
    const wait = (link: Link) => 2 * link.held.size + (kept.get(link) === line.shape.shapeId ? 0 : 1);
    const [least] = free.sort((a, b) => wait(a) - wait(b));
    if (least) least.keptFor = line.shape.shapeId;
  }
}

/** The links with a free slot, the least loaded first: one round, whatever the lane. */
interface Ring {
  readonly links: Link[];
  next: number;
}

interface Lane extends ServedLine {
  readonly ring: Ring;
  readonly isFilling: boolean;
  isClosed: boolean;
  readonly slots: Link[];
}

/**
 * Deals the heads of lines, in order, to the links that fit: each next one to
 * the least loaded. What fits nowhere blocks nobody, but for one thing: a head
 * that has waited `starvedMs` while smaller ones passed it keeps a link free
 * from all that come after it. Reserves the capacity; the caller gives it back
 * after the claim.
 *
 * @param free the links that have a free slot.
 * @param rooms what each gate lets through.
 */
export function assign(
  lines: readonly ServedLine[],
  free: readonly Link[],
  demand: number,
  rooms: Map<string, number> = new Map(),
): PlannedClaim[] {
  const ring = ringOf(free);
  const lanes = lines.map((line) => laneOf(line, ring));
  let left = demand;
  for (const { lane, head } of merge(lanes)) {
    if (left === 0) break;
    const link = place(lane, head, rooms);
    if (!link) continue;
    link.reserve(lane.line.shape);
    lane.slots.push(link);
    left--;
  }
  return planOf(lanes);
}

/** As `assign`, for a line alone: there is nothing to merge, so nobody looked at its heads. */
export function assignLine(
  line: ServedLine,
  free: readonly Link[],
  demand: number,
  rooms: Map<string, number> = new Map(),
): PlannedClaim[] {
  const lane = laneOf(line, ringOf(free));
  while (lane.slots.length < demand) {
    const link = place(lane, null, rooms);
    if (!link) break;
    link.reserve(lane.line.shape);
    lane.slots.push(link);
  }
  return planOf([lane]);
}

function planOf(lanes: readonly Lane[]): PlannedClaim[] {
  return lanes.flatMap(({ line, sessionId = null, slots }) => {
    line.newsAtClaim = line.news;
    return slots.length > 0 ? [{ line, sessionId, slots }] : [];
  });
}

// Finds the next link for a head, and takes its places under the gates; closes the lane when there is none.
function place(lane: Lane, head: Head | null, rooms: Map<string, number>): Link | null {
  const isOpen = lane.gates.every((key) => (rooms.get(key) ?? 0) >= 1);
  const link = isOpen ? nextFit(lane) : null;
  if (!link) {
    lane.isClosed = true;
    if (isOpen && head && head.ageMs >= starvedMs) reserveFor(lane);
    return null;
  }
  for (const key of lane.gates) rooms.set(key, (rooms.get(key) ?? 0) - 1);
  return link;
}

// The link that will be free for it first: what comes after gets nothing there until then.
function reserveFor({ line, servers }: Lane): void {
  const free = [...servers].filter((link) => link.isOpen && link.keptFor === null);
  const [soonest] = free.sort((a, b) => b.freePoints() - a.freePoints() || a.held.size - b.held.size);
  if (soonest) soonest.keptFor = line.shape.shapeId;
}

function ringOf(free: readonly Link[]): Ring {
  return { links: [...free].sort((a, b) => load(a) - load(b)), next: 0 };
}

// When there are jobs for all that is free, each link is filled before the next: what everybody gets is the same, in
// fewer and larger frames.
function laneOf(line: ServedLine, ring: Ring): Lane {
  const slots = () =>
    ring.links.reduce((sum, link) => sum + (line.servers.has(link) ? link.freeSlots() : 0), 0);
  return {
    ...line,
    ring,
    isFilling: line.line.isDeep && slots() <= line.line.expected,
    isClosed: false,
    slots: [],
  };
}

// Goes round from where the last job was placed; a link without a free slot leaves the ring.
function nextFit({ line, servers, ring, isFilling }: Lane): Link | null {
  const { shape } = line;
  const { links } = ring;
  for (let looked = 0; looked < links.length; ) {
    if (ring.next >= links.length) ring.next = 0;
    const link = links[ring.next];
    if (!link || link.freeSlots() < 1) {
      links.splice(ring.next, 1);
      continue;
    }
    looked++;
    const isFit = servers.has(link) && link.fits(shape);
    if (!isFilling || !isFit) ring.next++;
    if (isFit) return link;
  }
  return null;
}

function load(link: Link): number {
  return (link.held.size + link.reservedSlots) / link.slots;
}
