import { describe, expect, test } from "vitest";
import {
  type JobSettingName,
  type JobSettings,
  jobSettingNames,
  type PartialJobSettings,
  resolveSettings,
  type SettingLevel,
  type SettingsByLevel,
  settingLevels,
  settingValues,
  settingViolations,
} from "../../../../server/domain/rules/settings.ts";

const server: JobSettings = {
  reclaimAfterMs: 30_000,
  maxAttempts: 3,
  backoffInitialMs: 5_000,
  backoffMaxMs: 600_000,
  backoffFactor: 2,
  leaseTtlMs: 14_400_000,
};
const heartbeat = { heartbeatMs: 5_000 };
const dayMs = 86_400_000;

describe("resolving", () => {
  test("takes everything from the server when nobody else says anything", () => {
    const resolved = resolveSettings({ server, org: {}, job: undefined });
    expect(settingValues(resolved)).toEqual(server);
    for (const name of jobSettingNames) expect(resolved[name].from).toBe("server");
  });

  test.each<[Omit<SettingsByLevel, "server">, number, SettingLevel]>([
    [{ org: { maxAttempts: 4 } }, 4, "org"],
    [{ org: { maxAttempts: 4 }, queue: { maxAttempts: 5 } }, 5, "queue"],
    [{ queue: { maxAttempts: 5 }, kind: { maxAttempts: 6 } }, 6, "kind"],
    [{ org: { maxAttempts: 4 }, kind: { maxAttempts: 6 }, job: { maxAttempts: 1 } }, 1, "job"],
    [{ org: { maxAttempts: 4 }, queue: { maxAttempts: undefined }, job: {} }, 4, "org"],
  ])("of %j gives maxAttempts %d from the %s", (levels, value, from) => {
    expect(resolveSettings({ server, ...levels }).maxAttempts).toEqual({ value, from });
  });

  test("judges every setting by itself", () => {
    const one = Object.fromEntries(jobSettingNames.map((name, n) => [name, { [name]: 1_000 + n }]));
    for (const [n, name] of jobSettingNames.entries()) {
      const resolved = resolveSettings({ server, kind: one[name] });
      expect(resolved[name]).toEqual({ value: 1_000 + n, from: "kind" });
      for (const other of jobSettingNames) {
        if (other !== name) expect(resolved[other]).toEqual({ value: server[other], from: "server" });
      }
    }
  });

  test("takes 0 for a value", () => {
    const { backoffInitialMs } = resolveSettings({ server, job: { backoffInitialMs: 0 } });
    expect(backoffInitialMs).toEqual({ value: 0, from: "job" });
  });

  test("knows the levels from the weakest to the strongest", () => {
    for (const [n, from] of settingLevels.entries()) {
      const levels = Object.fromEntries(
        settingLevels.slice(1, n + 1).map((level) => [level, { leaseTtlMs: 9_000 + n }]),
      );
      expect(resolveSettings({ server, ...levels }).leaseTtlMs.from).toBe(from);
    }
  });
});

describe("the bounds", () => {
  test.each<[JobSettingName, number, boolean]>([
    ["reclaimAfterMs", 10_000, true],
    ["reclaimAfterMs", 9_999, false],
    ["reclaimAfterMs", dayMs, true],
    ["reclaimAfterMs", dayMs + 1, false],
    ["maxAttempts", 1, true],
    ["maxAttempts", 100, true],
    ["maxAttempts", 0, false],
    ["maxAttempts", 101, false],
    ["maxAttempts", 1.5, false],
    ["maxAttempts", Number.NaN, false],
    ["backoffInitialMs", 0, true],
    ["backoffInitialMs", dayMs, true],
    ["backoffInitialMs", -1, false],
    ["backoffInitialMs", dayMs + 1, false],
    ["backoffMaxMs", 7 * dayMs, true],
    ["backoffMaxMs", 7 * dayMs + 1, false],
    ["backoffFactor", 1, true],
    ["backoffFactor", 1.5, true],
    ["backoffFactor", 100, true],
    ["backoffFactor", 0.99, false],
    ["backoffFactor", Number.POSITIVE_INFINITY, false],
    ["leaseTtlMs", 1_000, true],
    ["leaseTtlMs", 999, false],
    ["leaseTtlMs", 7 * dayMs, true],
    ["leaseTtlMs", 7 * dayMs + 1, false],
  ])("of %s judge %d as allowed: %s", (setting, value, isAllowed) => {
    const settings: PartialJobSettings = { [setting]: value };
    const violations = settingViolations(settings, heartbeat);
    expect(violations.map((violation) => violation.setting)).toEqual(isAllowed ? [] : [setting]);
    for (const { message } of violations) expect(message).toMatch(/^must /);
  });

  test("hold for the defaults, and for a level that says nothing", () => {
    expect(settingViolations(server, heartbeat)).toEqual([]);
    expect(settingViolations({}, heartbeat)).toEqual([]);
  });

  test("are all judged at once", () => {
    const violations = settingViolations({ maxAttempts: 0, leaseTtlMs: 0, backoffFactor: 0 }, heartbeat);
    expect(violations.map(({ setting }) => setting)).toEqual(["maxAttempts", "backoffFactor", "leaseTtlMs"]);
  });

  test("name two heartbeats of this server", () => {
    expect(settingViolations({ reclaimAfterMs: 400 }, { heartbeatMs: 250 })).toEqual([
      { setting: "reclaimAfterMs", message: "must be at least two heartbeats (500ms)" },
    ]);
    expect(settingViolations({ reclaimAfterMs: 500 }, { heartbeatMs: 250 })).toEqual([]);
  });

  test("keep the first backoff at or below the longest, where one level says both", () => {
    const both = { backoffInitialMs: 2_000, backoffMaxMs: 1_000 };
    expect(settingViolations(both, heartbeat).map(({ setting }) => setting)).toEqual(["backoffInitialMs"]);
    expect(settingViolations({ backoffMaxMs: 1_000 }, heartbeat)).toEqual([]);
  });
});
