import type { InternedShape } from "../domain/rules/shapes.ts";
import type { Link } from "./link.ts";

/** The head of a shape's ready line, as peeked. */
export interface Head {
  readonly shapeId: bigint;
  readonly priority: number;
  readonly readyAt: number;
}

/** A claim to make: one slot for each job of a shape. */
export interface PlannedClaim {
  readonly shape: InternedShape;
  readonly slots: readonly Link[];
}

/** The links that may run a shape: those that it avoids come in only when the others are none. */
export function candidates(shape: InternedShape, links: readonly Link[]): Link[] {
  return links.filter((link) => !shape.avoid.includes(link.workerId) && link.canServe(shape));
}

/**
 * Keeps a link free for each shape that runs alone, the least loaded of those
 * that may run it: on busy workers its turn would never come. Chosen anew each
 * time, so that one long job does not hold it up; a link is let go when the
 * shape has no ready job any more.
 */
export function keepFree(ready: readonly InternedShape[], links: readonly Link[]): void {
  const alone = ready.filter((shape) => shape.isAlone);
  const kept = new Map(alone.length === 0 ? [] : links.map((link) => [link, link.keptFor]));
  for (const link of links) link.keptFor = null;
  for (const shape of alone) {
    const free = candidates(shape, links).filter((link) => link.isOpen && link.keptFor === null);
    const wait = (link: Link) => 2 * link.held.size + (kept.get(link) === shape.shapeId ? 0 : 1);
    const [least] = free.sort((a, b) => wait(a) - wait(b));
    if (least) least.keptFor = shape.shapeId;
  }
}

/** The order in which the heads of all lines are served: priority, then first ready. */
export function inOrder(a: Head, b: Head): number {
  return b.priority - a.priority || a.readyAt - b.readyAt;
}

/**
 * Deals heads, in order, to the links that fit: each next one to the least
 * loaded. Reserves the capacity; the caller gives it back after the claim.
 */
export function assign(
  heads: Iterable<bigint>,
  shapes: ReadonlyMap<bigint, InternedShape>,
  links: readonly Link[],
): PlannedClaim[] {
  const lines = new Map<bigint, { shape: InternedShape; ring: Link[]; next: number; slots: Link[] }>();
  for (const shapeId of heads) {
    let line = lines.get(shapeId);
    if (!line) {
      const shape = shapes.get(shapeId);
      if (!shape) continue;
      const ring = candidates(shape, links).sort((a, b) => load(a) - load(b));
      line = { shape, ring, next: 0, slots: [] };
      lines.set(shapeId, line);
    }
    const link = nextFit(line);
    if (!link) continue;
    link.reserve(line.shape);
    line.slots.push(link);
  }
  return [...lines.values()].filter((line) => line.slots.length > 0);
}

// Goes round; a link that no longer fits leaves the ring.
function nextFit(line: { shape: InternedShape; ring: Link[]; next: number }): Link | null {
  while (line.ring.length > 0) {
    if (line.next >= line.ring.length) line.next = 0;
    const link = line.ring[line.next];
    if (link?.fits(line.shape)) {
      line.next++;
      return link;
    }
    // The last takes its place: order within a round does not matter.
    const last = line.ring.pop();
    if (last && line.next < line.ring.length) line.ring[line.next] = last;
  }
  return null;
}

function load(link: Link): number {
  return (link.held.size + link.reservedSlots) / link.slots;
}
