import type { Tx } from "../store/database.ts";
import {
  countOpenPullRequests,
  readClock,
  readGateFacts,
  readSessionFacts,
  readWorkerFacts,
  type WorkerFactsRow,
} from "../store/explain.ts";
import { type ReadyLineRow, readReadyLines, readReadyShapes } from "../store/ready-lines.ts";
import { type GateFacts, type GateStanding, gateParts, gateStanding } from "./rules/gate-standing.ts";
import { anyRoute, type Route } from "./rules/routing.ts";
import { routeOf, type SessionFacts, type TargetRoute } from "./rules/session-routes.ts";
import { gateKeys, type InternedShape, type Shape, type ShapeTarget, targetParts } from "./rules/shapes.ts";

/** Workers, lines, gates and sessions that one look takes in at most: what is beyond is not judged. */
export const mostWorkers = 10_000;
const mostLines = 2_000;
/** The same of shapes that are only named, for lists. */
const mostShapes = 20_000;
const mostGates = 10_000;
const mostSessions = 10_000;

/** What decides, at one moment, who is offered jobs. */
export interface Routing {
  readonly now: Date;
  /** The attached ones first. */
  readonly workers: readonly WorkerFactsRow[];
  readonly workersById: ReadonlyMap<string, WorkerFactsRow>;
  readonly gates: ReadonlyMap<string, GateFacts>;
  /** Open pull requests that count, by project that has a gate. */
  readonly openPrs: ReadonlyMap<string, number>;
  readonly sessions: readonly SessionFacts[];
}

/** A gate that holds a shape back, and how it stands. */
export interface Hold {
  readonly key: string;
  readonly standing: GateStanding;
}

/** Reads what decides about jobs of some shapes. */
export async function readRouting(
  tx: Tx,
  orgId: string,
  shapes: readonly Shape[],
  { staleMs }: { readonly staleMs: number },
): Promise<Routing> {
  // A gate each is asked for by name; above that all are cheaper.
  const keys = [...new Set(shapes.flatMap(gateKeys))];
  const targets = shapes.flatMap(({ target }) => (target === null ? [] : [targetParts(target)]));
  const named = (type: string) => [
    ...new Set(targets.flatMap((one) => (one.type === type ? [one.name] : []))),
  ];
  const of = { ids: named("session"), projects: named("project") };
  // Sent together: the database reads on while rows are turned into facts here.
  const [workers, rows, sessions, now] = await Promise.all([
    readWorkerFacts(tx, orgId, { staleMs, limit: mostWorkers }),
    readGateFacts(tx, orgId, keys.length > 100 ? null : keys, mostGates),
    readSessionFacts(tx, orgId, of, mostSessions),
    readClock(tx),
  ]);
  const projects = rows
    .map(({ key }) => gateParts(key))
    .flatMap(({ type, name }) => (type === "project" ? [name] : []));
  return {
    workers,
    workersById: new Map(workers.map((one) => [one.workerId, one])),
    gates: new Map(rows.map((row) => [row.key, row])),
    openPrs: await countOpenPullRequests(tx, orgId, projects),
    sessions,
    now,
  };
}

/** Reads the ready lines of an org, in the order in which they are served, with what decides about them. */
export async function readLines(
  tx: Tx,
  orgId: string,
  config: { readonly staleMs: number },
): Promise<{ readonly routing: Routing; readonly lines: readonly ReadyLineRow[] }> {
  const lines = await readReadyLines(tx, orgId, mostLines);
  const shapes = lines.map(({ shape }) => shape);
  return { routing: await readRouting(tx, orgId, shapes, config), lines: lines.sort(inOrder) };
}

/** The shapes of the lines alone. */
export function readLineShapes(tx: Tx, orgId: string): Promise<InternedShape[]> {
  return readReadyShapes(tx, orgId, mostShapes);
}

/** How the gate of a key stands. */
export function standingOf({ gates, openPrs, now }: Routing, key: string): GateStanding {
  const { type, name } = gateParts(key);
  return gateStanding(gates.get(key), now, type === "project" ? (openPrs.get(name) ?? 0) : null);
}

/** The first gate that holds jobs of a shape back, in the order queue, kind, pool, project; null: all are open. */
export function holdOf(routing: Routing, shape: Shape): Hold | null {
  for (const key of keysInOrder(shape)) {
    const standing = standingOf(routing, key);
    if (standing.closedBy !== null) return { key, standing };
  }
  return null;
}

/** The gates that jobs of a shape pass, in the order in which they are shown. */
export function keysInOrder({ queue, kind, pool, project }: Shape): string[] {
  return [
    `queue:${queue}`,
    `kind:${kind}`,
    ...(pool === null ? [] : [`pool:${pool}`]),
    ...(project === null ? [] : [`project:${project}`]),
  ];
}

/** Where targets lead; each is looked up once. */
export function routesOf(routing: Routing): (target: ShapeTarget | null) => TargetRoute {
  const known = new Map<ShapeTarget, TargetRoute>();
  return (target) => {
    if (target === null) return { route: anyRoute, problem: null, nearest: null };
    const found = known.get(target) ?? routeOf(target, routing.sessions, routing.workersById);
    known.set(target, found);
    return found;
  };
}

/** The route of a target, alone. */
export function routeTo(routing: Routing, target: ShapeTarget | null): Route {
  return routesOf(routing)(target).route;
}

/** The order in which the first jobs of lines are offered. */
export function inOrder(a: ReadyLineRow, b: ReadyLineRow): number {
  return b.priority - a.priority || a.readyAt.getTime() - b.readyAt.getTime() || (a.jobId < b.jobId ? -1 : 1);
}
