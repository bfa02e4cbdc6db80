import { beforeEach, describe, expect, test } from "vitest";
import { type OrgWorker, OrgWorkers } from "../../../tui/commands/org-workers.ts";

interface Started {
  readonly orgId: string;
  idleSinceMs: number | null;
  isStopped: boolean;
  /** Ends it, by itself or as it was told to. */
  readonly end: () => Promise<void>;
}

let now: number;
let started: Started[];
beforeEach(() => {
  now = 0;
  started = [];
});

const workers = (most = 2) =>
  new OrgWorkers({
    start(orgId): OrgWorker {
      const ended = Promise.withResolvers<void>();
      const one: Started = {
        orgId,
        idleSinceMs: now,
        isStopped: false,
        async end() {
          ended.resolve();
          await ended.promise;
          await Promise.resolve();
        },
      };
      started.push(one);
      return {
        idleSinceMs: () => one.idleSinceMs,
        stop() {
          one.isStopped = true;
          ended.resolve();
        },
        ended: ended.promise,
      };
    },
    ...{ lingerMs: 100, restartMs: 1_000, most, now: () => now },
  });
const running = () => started.filter(({ isStopped }) => !isStopped).map(({ orgId }) => orgId);
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the workers of orgs", () => {
  test("are started once for an org that wants one, and end when they were idle for long enough", async () => {
    const orgs = workers();
    orgs.want("a");
    orgs.want("a");
    expect(running()).toEqual(["a"]);
    const [first] = started;
    if (first) first.idleSinceMs = null;
    now = 1_000;
    orgs.sweep();
    expect(running()).toEqual(["a"]);
    if (first) first.idleSinceMs = now;
    now = 1_099;
    orgs.sweep();
    expect(running()).toEqual(["a"]);
    now = 1_100;
    orgs.sweep();
    expect(running()).toEqual([]);
    await turn();
    orgs.want("a");
    expect(running()).toEqual(["a"]);
  });

  test("wait a while where one ended by itself", async () => {
    const orgs = workers();
    orgs.want("a");
    await started[0]?.end();
    await turn();
    now = 999;
    orgs.want("a");
    expect(started).toHaveLength(1);
    now = 1_000;
    orgs.want("a");
    expect(started).toHaveLength(2);
  });

  test("make room by ending the one that is idle longest, never one that runs jobs", async () => {
    const orgs = workers(2);
    orgs.want("a");
    now = 10;
    orgs.want("b");
    const [a, b] = started;
    if (a) a.idleSinceMs = null;
    orgs.want("c");
    expect([a?.isStopped, b?.isStopped]).toEqual([false, true]);
    await turn();
    orgs.want("c");
    expect(running()).toEqual(["a", "c"]);
    const c = started[2];
    if (c) c.idleSinceMs = null;
    orgs.want("d");
    expect(running()).toEqual(["a", "c"]);
  });

  test("all end at a stop, and none begins after it", async () => {
    const orgs = workers();
    orgs.want("a");
    orgs.want("b");
    await orgs.stop();
    orgs.want("c");
    expect(running()).toEqual([]);
    expect(started).toHaveLength(2);
  });
});
