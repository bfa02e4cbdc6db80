import { createHash } from "node:crypto";

/** Everything that decides who may run a job. */
export interface Shape {
  readonly kind: string;
  readonly queue: string;
  /** Sorted, without doubles. */
  readonly skills: readonly string[];
  readonly points: number;
  readonly pool: string | null;
  readonly project: string | null;
  /** Workers that get it last: they declined or lost it. At most 4, newest last. */
  readonly avoid: readonly string[];
  /** The worker must hold nothing else. */
  readonly isAlone: boolean;
}

/** A shape with its id. */
export interface InternedShape extends Shape {
  readonly shapeId: bigint;
}

/** How many workers a shape avoids. */
export const maxAvoided = 4;

/** Interns a shape: equal shapes have the same id, on every coordinator, without asking the database. */
export function internShape(shape: Shape): InternedShape {
  const { kind, queue, skills, points, pool, project, avoid, isAlone } = shape;
  const canonical = JSON.stringify([kind, queue, skills, points, pool, project, avoid, isAlone]);
  const digest = createHash("sha256").update(canonical).digest();
  return { ...shape, shapeId: BigInt.asIntN(63, digest.readBigInt64BE()) };
}

/** Adds a worker to those that a shape avoids; the oldest goes when there are too many. */
export function avoidWorker(avoid: readonly string[], workerId: string): string[] {
  return [...avoid.filter((id) => id !== workerId), workerId].slice(-maxAvoided);
}
