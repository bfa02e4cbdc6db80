import { createHash } from "node:crypto";

/** Everything that decides who may run a job. */
export interface Shape {
  readonly kind: string;
  readonly queue: string;
  /** Sorted, without doubles. */
  readonly skills: readonly string[];
  readonly points: number;
  readonly pool: string | null;
  /** Where the cap of a project counts the job. */
  readonly project: string | null;
  /** Who alone may run it. */
  readonly target: ShapeTarget | null;
  /** Workers that get it last: they declined or lost it. At most 4, newest last. */
  readonly avoid: readonly string[];
  /** The worker must hold nothing else. */
  readonly isAlone: boolean;
  /** The project of a job that no cap counts: for statistics alone. Absent: none. */
  readonly accountedTo?: string | null;
  /** The name of the schedule that made the job: for statistics alone. Absent: none. */
  readonly schedule?: string | null;
}

/** Who alone may run a job: a worker, the owner of a session, or of a session of a project. */
export type ShapeTarget = `worker:${string}` | `session:${string}` | `project:${string}`;

/** A shape with its id. */
export interface InternedShape extends Shape {
  readonly shapeId: bigint;
}

/** How many workers a shape avoids. */
export const maxAvoided = 4;

/** Interns a shape: equal shapes have the same id, on every coordinator, without asking the database. */
export function internShape(shape: Shape): InternedShape {
  const { kind, queue, skills, points, pool, project, target, avoid, isAlone } = shape;
  const { accountedTo = null, schedule = null } = shape;
  const parts = [kind, queue, skills, points, pool, project, target, avoid, isAlone];
  const counted = schedule !== null ? [accountedTo, schedule] : accountedTo !== null ? [accountedTo] : [];
  const canonical = JSON.stringify([...parts, ...counted]);
  const digest = createHash("sha256").update(canonical).digest();
  return { ...shape, shapeId: BigInt.asIntN(63, digest.readBigInt64BE()) };
}

/** Adds a worker to those that a shape avoids; the oldest goes when there are too many. */
export function avoidWorker(avoid: readonly string[], workerId: string): string[] {
  return [...avoid.filter((id) => id !== workerId), workerId].slice(-maxAvoided);
}

/** Reads a target as it is stored. */
export function shapeTarget(stored: string | null): ShapeTarget | null {
  if (stored === null) return null;
  const [type = "", name = ""] = split(stored);
  switch (type) {
    case "worker":
    case "session":
    case "project":
      return `${type}:${name}`;
    default:
      throw new Error("a target names a worker, a session or a project");
  }
}

/** The parts of a target. */
export function targetParts(target: ShapeTarget): {
  readonly type: "worker" | "session" | "project";
  readonly name: string;
} {
  if (target.startsWith("worker:")) return { type: "worker", name: target.slice(7) };
  if (target.startsWith("session:")) return { type: "session", name: target.slice(8) };
  return { type: "project", name: target.slice(8) };
}

/** The gates that a job of this shape must pass, in the order of their keys. */
export function gateKeys({
  kind,
  queue,
  pool,
  project,
}: Pick<Shape, "kind" | "queue" | "pool" | "project">): string[] {
  const keys = [`kind:${kind}`, `queue:${queue}`];
  if (pool !== null) keys.push(`pool:${pool}`);
  if (project !== null) keys.push(`project:${project}`);
  return keys.sort();
}

function split(text: string): [string, string] {
  const at = text.indexOf(":");
  return [text.slice(0, at), text.slice(at + 1)];
}
