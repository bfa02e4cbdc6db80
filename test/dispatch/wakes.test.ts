import { setImmediate } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { PeerWakes } from "../../server/dispatch/wakes.ts";
import { type Blackhole, openBlackhole } from "../support/blackhole.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

type Heard = [kind: string, orgId: string, jobIds?: readonly string[]];

let db: TestDatabase;
let hole: Blackhole;
let a: ReturnType<typeof coordinator>;
let b: ReturnType<typeof coordinator>;
let payloads: string[];
let unlisten: () => Promise<void>;

beforeAll(async () => {
  db = await createTestDatabase();
  // Everything that goes over the channel of this database.
  ({ unlisten } = await db.admin.listen("muster_wake", (payload) => payloads.push(payload)));
});
afterAll(async () => {
  await unlisten();
  await db.close();
});
beforeEach(async () => {
  payloads = [];
  hole = await openBlackhole(db.urls.muster_app);
  a = coordinator("a", db.urls.muster_app);
  b = coordinator("b", hole.url);
});
afterEach(async () => {
  await Promise.all([a.wakes.stop(), b.wakes.stop()]);
  await hole.close();
});

/** The wakes of a coordinator, and what they did there. */
function coordinator(coordinatorId: string, url: string) {
  const heard: Heard[] = [];
  const state = { hasPeers: true };
  const wakes = new PeerWakes({
    url,
    coordinatorId,
    local: {
      ready: (orgId) => heard.push(["ready", orgId]),
      released: (orgId) => heard.push(["released", orgId]),
      changed: (orgId, jobIds) => heard.push(["changed", orgId, jobIds]),
      cancel: (orgId) => heard.push(["cancel", orgId]),
      command: (orgId) => heard.push(["command", orgId]),
      gates: (orgId) => heard.push(["gates", orgId]),
      revoked: (orgId) => heard.push(["revoked", orgId]),
      routes: (orgId) => heard.push(["routes", orgId]),
    },
    hasPeers: async () => state.hasPeers,
    nowMs: () => performance.now(),
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  });
  return { wakes, heard, state };
}

const bothListen = () => Promise.all([a.wakes.check(), b.wakes.check()]);

test("what happens at one acts there at once and at the other soon, and does not come back", async () => {
  await bothListen();
  a.wakes.ready("one");
  a.wakes.cancel("one");
  a.wakes.command("two");
  a.wakes.gates("two");
  a.wakes.routes("two");
  a.wakes.revoked("two");
  a.wakes.changed("two", ["x", "y"]);
  const all: Heard[] = [
    ["ready", "one"],
    ["cancel", "one"],
    ["command", "two"],
    ["gates", "two"],
    ["routes", "two"],
    ["revoked", "two"],
    ["changed", "two", ["x", "y"]],
  ];
  expect(a.heard).toEqual(all);
  await expect.poll(() => b.heard, { timeout: 5_000 }).toEqual(all);
  b.wakes.ready("three");
  await expect.poll(() => a.heard, { timeout: 5_000 }).toHaveLength(8);
  expect(a.heard.at(-1)).toEqual(["ready", "three"]);
  expect(b.heard.filter(([, orgId]) => orgId === "three")).toHaveLength(1);
});

test("a burst is told in a few statements", async () => {
  await bothListen();
  const startedMs = performance.now();
  for (let n = 0; n < 2_000; n++) {
    a.wakes.tell("ready", "one");
    a.wakes.tell("changed", "one", [`job${n}`]);
    await setImmediate();
  }
  a.wakes.tell("cancel", "last");
  await expect.poll(() => b.heard.some(([kind]) => kind === "cancel"), { timeout: 5_000 }).toBe(true);
  const statements = (performance.now() - startedMs) / 50 + 1;
  expect(b.heard.filter(([kind]) => kind === "ready").length).toBeLessThanOrEqual(statements);
  expect(Math.max(...b.heard.map(([, , jobIds]) => jobIds?.length ?? 0))).toBeLessThanOrEqual(64);
});

test("who is alone tells nothing, until another says that it is there", async () => {
  a.state.hasPeers = false;
  await a.wakes.check();
  a.wakes.ready("nobody hears");
  await b.wakes.check();
  await expect.poll(() => payloads, { timeout: 5_000 }).toEqual(["b here"]);
  await expect
    .poll(
      () => {
        a.wakes.tell("ready", "one");
        return b.heard;
      },
      { timeout: 5_000 },
    )
    .toContainEqual(["ready", "one"]);
  expect(b.heard).not.toContainEqual(["ready", "nobody hears"]);
});

test("a channel that falls silent is noticed within seconds, and listens again", async () => {
  await bothListen();
  hole.swallow();
  const startedMs = performance.now();
  await expect(b.wakes.check()).rejects.toMatchObject({ code: "CONNECTION_LOST" });
  expect(performance.now() - startedMs).toBeLessThan(6_000);
  a.wakes.ready("lost");
  // Told while b cannot hear: it is told in a statement of its own, which else might come after b listens again.
  await expect.poll(() => payloads, { timeout: 5_000 }).toContain("a ready lost");
  hole.pass();
  await b.wakes.check();
  a.wakes.ready("heard");
  await expect.poll(() => b.heard, { timeout: 5_000 }).toContainEqual(["ready", "heard"]);
  expect(b.heard).not.toContainEqual(["ready", "lost"]);
});

test("a channel whose backend is killed listens again at the next look, and nothing is thrown", async () => {
  await bothListen();
  await db.admin`
    select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'muster wake' and datname = current_database()`;
  a.wakes.ready("while it is away");
  await expect
    .poll(
      async () => {
        await bothListen().catch(() => {});
        a.wakes.tell("ready", "again");
        return b.heard;
      },
      { timeout: 10_000 },
    )
    .toContainEqual(["ready", "again"]);
});
