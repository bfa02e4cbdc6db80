import type { Coordinator } from "../domain/context.ts";
import { firstChoice, unusableReason } from "../domain/rules/sessions.ts";
import { type Shape, type ShapeTarget, targetParts } from "../domain/rules/shapes.ts";
import { inOrg } from "../store/database.ts";
import { readSessions, type SessionRow } from "../store/sessions.ts";

/** Who may run the jobs of a shape, as far as its target says. */
export type Route =
  /** Whoever can. */
  | { readonly to: "any" }
  /** Nobody now: the worker, or a session that is usable, is missing. */
  | { readonly to: "none" }
  /** One worker alone; in this session, where it is not null. */
  | { readonly to: "worker"; readonly workerId: string; readonly sessionId: string | null };

/** What routes work with. */
export interface RoutesContext extends Pick<Coordinator, "db" | "log"> {
  /** The age of a heartbeat that is late. */
  readonly staleMs: number;
  /** Routes of an org changed: what waits for them is looked at again. */
  readonly changed: (orgId: string) => void;
}

interface OrgRoutes {
  /** The targets that were asked for; `true`: since unused ones were dropped last. */
  readonly asked: Map<ShapeTarget, boolean>;
  readonly routes: Map<ShapeTarget, Route>;
  reading: Promise<void> | null;
  /** Something changed while the store was being read. */
  isDirty: boolean;
}

const anyone: Route = { to: "any" };
const nobody: Route = { to: "none" };

/** Who may run a shape, as far as that can be said without knowing any session. */
export function plainRoute({ target }: Pick<Shape, "target">): Route {
  if (target === null) return anyone;
  const { type, name } = targetParts(target);
  return type === "worker" ? { to: "worker", workerId: name, sessionId: null } : nobody;
}

/**
 * Where jobs go that name a session, or the session of a project: exact, else primary, else the first that is usable.
 * A hint: a claim asks the database again. Only targets that ready jobs have are read, in one query an org.
 */
export class Routes {
  readonly #context: RoutesContext;
  readonly #orgs = new Map<string, OrgRoutes>();

  constructor(context: RoutesContext) {
    this.#context = context;
  }

  /** Who may run a shape. A target that is asked for the first time has nobody until the store has been read. */
  routeOf(orgId: string, shape: Pick<Shape, "target">): Route {
    const { target } = shape;
    if (target === null || target.startsWith("worker:")) return plainRoute(shape);
    const org = this.#org(orgId);
    if (!org.asked.has(target)) {
      org.asked.set(target, true);
      void this.refresh(orgId);
    }
    return org.routes.get(target) ?? nobody;
  }

  /** Reads the routes of the targets that ready jobs have, and forgets the others. Never rejects. */
  keep(orgId: string, ready: readonly Pick<Shape, "target">[]): Promise<void> {
    const org = this.#orgs.get(orgId);
    if (org) dropUnused(org, new Set(ready.map(({ target }) => target)));
    return this.refresh(orgId);
  }

  /** Reads the routes of an org again, if anything asked for any. Never rejects. */
  async refresh(orgId: string): Promise<void> {
    const org = this.#orgs.get(orgId);
    if (!org || org.asked.size === 0) return;
    if (org.reading) {
      org.isDirty = true;
      return org.reading;
    }
    org.reading = this.#read(orgId, org);
    await org.reading;
  }

  #org(orgId: string): OrgRoutes {
    let org = this.#orgs.get(orgId);
    if (!org) {
      org = { asked: new Map(), routes: new Map(), reading: null, isDirty: false };
      this.#orgs.set(orgId, org);
    }
    return org;
  }

  async #read(orgId: string, org: OrgRoutes): Promise<void> {
    const { db, log, staleMs, changed } = this.#context;
    try {
      do {
        org.isDirty = false;
        const targets = [...org.asked.keys()];
        const rows = await inOrg(db.app, orgId, (tx) =>
          readSessions(tx, orgId, selectionOf(targets), staleMs),
        );
        if (takeRoutes(org, targets, rows)) changed(orgId);
      } while (org.isDirty);
    } catch (error) {
      log.warn({ err: error, orgId }, "routes could not be read; the next poll tries again");
    } finally {
      org.reading = null;
    }
  }
}

function dropUnused(org: OrgRoutes, used: ReadonlySet<ShapeTarget | null>): void {
  for (const [target, isNew] of org.asked) {
    if (isNew || used.has(target)) org.asked.set(target, false);
    else {
      org.asked.delete(target);
      org.routes.delete(target);
    }
  }
}

function selectionOf(targets: readonly ShapeTarget[]) {
  const parts = targets.map(targetParts);
  const of = (type: string) => parts.filter((one) => one.type === type).map((one) => one.name);
  return { sessionIds: of("session"), projects: of("project") };
}

// True when any of them is another than before.
function takeRoutes(org: OrgRoutes, targets: readonly ShapeTarget[], rows: readonly SessionRow[]): boolean {
  const usable = rows.filter((row) => unusableReason(row) === null);
  const byId = new Map(usable.map((row) => [row.sessionId, row]));
  const byProject = Map.groupBy(usable, (row) => row.project);
  let isChanged = false;
  for (const target of targets) {
    const { type, name } = targetParts(target);
    const session = type === "session" ? byId.get(name) : firstChoice(byProject.get(name) ?? []);
    const route: Route = session
      ? { to: "worker", workerId: session.workerId, sessionId: session.sessionId }
      : nobody;
    if (!isSame(org.routes.get(target) ?? nobody, route)) isChanged = true;
    org.routes.set(target, route);
  }
  return isChanged;
}

function isSame(one: Route, other: Route): boolean {
  if (one.to !== "worker" || other.to !== "worker") return one.to === other.to;
  return one.workerId === other.workerId && one.sessionId === other.sessionId;
}
