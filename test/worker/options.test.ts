import { describe, expect, test } from "vitest";
import { resolveOptions, type WorkerOptions, WorkerOptionsError } from "../../worker/options.ts";
import { keyIdentity, stateDirectory } from "../../worker/state-directory.ts";

const good: WorkerOptions = {
  address: "localhost:7071",
  key: "mk_worker_ab12_s3cret_crc123",
  handlers: { noop: () => {} },
};

function problems(options: Partial<WorkerOptions>): string[] {
  try {
    resolveOptions({ ...good, ...options }, {});
    return [];
  } catch (error) {
    if (error instanceof WorkerOptionsError) return error.problems.map((p) => `${p.option} ${p.message}`);
    throw error;
  }
}

describe("options", () => {
  test("have defaults", () => {
    expect(resolveOptions(good, { XDG_STATE_HOME: "/state" })).toEqual({
      identity: "worker-ab12",
      skills: [],
      kinds: ["noop"],
      slots: 4,
      points: 4,
      labels: {},
      transport: "auto",
      stateDir: "/state/muster/worker/worker-ab12",
      isThreaded: true,
      drainGraceMs: 30_000,
      resultRetentionMs: 0,
    });
    expect(resolveOptions({ ...good, slots: 20 }, {}).points).toBe(20);
  });

  test.each([
    [{ drainDeadlineMs: 120_000 }, 100_000],
    [{ drainDeadlineMs: 120_000, drainGraceMs: 5_000 }, 5_000],
    [{ drainDeadlineMs: 10_000 }, 0],
  ])("give jobs back 20 s before the deadline of a drain: %o", (given, drainGraceMs) => {
    expect(resolveOptions({ ...good, ...given }, {})).toMatchObject({ drainGraceMs });
  });

  test.each<[Partial<WorkerOptions>, RegExp]>([
    [{ resultRetentionMs: -1 }, /resultRetentionMs must be 0 to 7 days/],
    [{ drainDeadlineMs: -1 }, /drainDeadlineMs must be 0 or more/],
    [{ name: "" }, /name must not be empty/],
    [{ name: "  " }, /name must not be empty/],
    [{ slots: 0 }, /slots must be a whole number from 1 to 10,000/],
    [{ slots: 1.5 }, /slots/],
    [{ points: 0 }, /points must be a whole number from 1/],
    [{ handlers: {} }, /handlers must hold at least one/],
    [{ handlers: { "Bad Kind": () => {} } }, /kinds has "Bad Kind"/],
    [{ kinds: ["noop", "other"] }, /handlers has no function for other/],
    [{ skills: ["GPU!"] }, /skills has "GPU!"/],
    [{ address: "" }, /address must not be empty/],
    [{ address: "ftp://x:1" }, /address must be host:port/],
    [{ address: "http://x:1/path" }, /address must be host:port/],
    [{ apiAddress: "x:99999" }, /apiAddress must be host:port/],
    [{ key: "" }, /key must not be empty/],
    [{ key: "mk_worker_ab12" }, /key must have the form/],
    [{ key: "two words" }, /key must be printable ASCII/],
    [{ drainGraceMs: -1 }, /drainGraceMs/],
    [
      { linkThread: true, outbox: { pending: () => [], keep: () => {}, acknowledge: () => {} } },
      /outbox cannot be shared/,
    ],
    [
      { labels: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, ""])) },
      /labels must be at most 32/,
    ],
    [{ isolation: { level: "chroot" as "uid" } }, /isolation has no level "chroot": use none, uid, bwrap/],
    [{ isolation: { kinds: { a: { level: "vm" as "uid" } } } }, /isolation has no level "vm"/],
    [{ isolation: { paths: ["opt/tools"] } }, /isolation needs absolute paths, not "opt\/tools"/],
    [{ isolation: { firstUid: 0 } }, /isolation needs a first uid from 1/],
  ])("%j is refused", (options, message) => {
    expect(problems(options).join("\n")).toMatch(message);
  });

  test("are refused with all problems at once, and never show the key", () => {
    const found = problems({ name: "", slots: 0, key: "mk_worker_hidden" });
    expect(found).toHaveLength(4);
    expect(found.join()).not.toContain("hidden");
  });

  test("a shared outbox runs the link in this thread", () => {
    const outbox = { pending: () => [], keep: () => {}, acknowledge: () => {} };
    expect(resolveOptions({ ...good, outbox }, {}).isThreaded).toBe(false);
  });
});

describe("the state directory", () => {
  test.each([
    [{ XDG_STATE_HOME: "/s", HOME: "/h" }, "w", "/s/muster/worker/w"],
    [{ HOME: "/h" }, "w", "/h/.local/state/muster/worker/w"],
    [{ XDG_STATE_HOME: "relative", HOME: "/h" }, "w", "/h/.local/state/muster/worker/w"],
    [{ HOME: "/h" }, "../../etc", "/h/.local/state/muster/worker/__.._etc"],
    [{ HOME: "/h" }, "gpu box/1", "/h/.local/state/muster/worker/gpu_box_1"],
  ])("of %j for %s is %s", (env, identity, path) => {
    expect(stateDirectory(env, identity)).toBe(path);
  });

  test("is never named by the secret of a key", () => {
    expect(keyIdentity("mk_worker_ab12_s3cret_crc")).toBe("worker-ab12");
    expect(keyIdentity("imported-key-of-somebody")).toBe("unnamed");
  });
});
