import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Route, Routes } from "../../server/dispatch/routes.ts";
import { changeLinks } from "../../server/domain/publications.ts";
import type { PublishedSession } from "../../server/domain/rules/publications.ts";
import type { ShapeTarget } from "../../server/domain/rules/shapes.ts";
import { setPrimarySession } from "../../server/domain/sessions.ts";
import { closeLink } from "../../server/store/links.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
let orgId: string;
let routes: Routes;
let changed: string[];
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());
beforeEach(async () => {
  orgId = await db.orgId();
  changed = [];
  routes = new Routes({ db: c.db, log: c.log, staleMs: 15_000, changed: (one) => changed.push(one) });
});

const session = (sessionId: string, more: Partial<PublishedSession> = {}): PublishedSession => ({
  sessionId,
  project: "p",
  label: "",
  agent: "",
  agentSessionId: "a",
  state: 1,
  role: "",
  terminalTarget: "",
  activeAt: null,
  isArchived: false,
  saysPrimary: false,
  ...more,
});

const attach = (name: string, ...sessions: PublishedSession[]) =>
  attachWorker(c, orgId, { name, hello: hello({ published: { projects: [], sessions, refused: [] } }) });

async function route(target: ShapeTarget): Promise<Route> {
  routes.routeOf(orgId, { target });
  await routes.refresh(orgId);
  return routes.routeOf(orgId, { target });
}

describe("a route", () => {
  test("is anybody's without a target, and a worker's by its id, without asking", () => {
    expect(routes.routeOf(orgId, { target: null })).toEqual({ to: "any" });
    const workerId = db.newId();
    const target: ShapeTarget = `worker:${workerId}`;
    expect(routes.routeOf(orgId, { target })).toEqual({ to: "worker", workerId, sessionId: null });
  });

  test("is nobody's until the store is read; then the owner's, and who waits is told", async () => {
    const { attached } = await attach("w", session("s"));
    expect(routes.routeOf(orgId, { target: "session:s" })).toEqual({ to: "none" });
    await routes.refresh(orgId);
    expect(changed).toEqual([orgId]);
    const to = { to: "worker", workerId: attached.workerId, sessionId: "s" };
    expect(routes.routeOf(orgId, { target: "session:s" })).toEqual(to);
    await routes.refresh(orgId);
    expect(changed).toEqual([orgId]);
  });

  test("of a project is its primary session, else the first usable one, else nobody's", async () => {
    const caller = testCaller(orgId);
    const first = await attach("first", session("one"), session("two"));
    const second = await attach("second", session("three", { saysPrimary: true }));
    expect(await route("project:p")).toMatchObject({ sessionId: "three" });
    await closeLink(c.db, orgId, second.link);
    expect(await route("project:p")).toMatchObject({ sessionId: "one" });
    await setPrimarySession(c, caller, { sessionId: "two", reason: "" });
    expect(await route("project:p")).toMatchObject({ sessionId: "two" });
    const ended = [session("one", { agentSessionId: "" }), session("two", { state: 3 })];
    await changeLinks(c, orgId, first.link, { projects: [], sessions: ended, refused: [] });
    expect(await route("project:p")).toEqual({ to: "none" });
    expect(await route("project:other")).toEqual({ to: "none" });
  });

  test("ends when its worker shows no life, and comes back with it", async () => {
    await attach("w", session("s"));
    expect(await route("session:s")).toMatchObject({ to: "worker" });
    await db.advanceClock(16_000);
    expect(await route("session:s")).toEqual({ to: "none" });
  });

  test("is forgotten when no ready job asks for it any more", async () => {
    await attach("w", session("s"));
    await route("session:s");
    await routes.keep(orgId, [{ target: "session:s" }]);
    expect(routes.routeOf(orgId, { target: "session:s" })).toMatchObject({ to: "worker" });
    await routes.keep(orgId, []);
    expect(routes.routeOf(orgId, { target: "session:s" })).toEqual({ to: "none" });
    await routes.refresh(orgId);
    expect(routes.routeOf(orgId, { target: "session:s" })).toMatchObject({ to: "worker" });
  });

  test("of one org is none of another", async () => {
    await attach("w", session("s"));
    const other = await db.orgId();
    routes.routeOf(other, { target: "session:s" });
    await routes.refresh(other);
    expect(routes.routeOf(other, { target: "session:s" })).toEqual({ to: "none" });
  });
});
