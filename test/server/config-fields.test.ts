import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { configFlags, configTable } from "../../server/config.ts";
import { configEntries } from "../../server/config-fields.ts";
import { jobSettingNames, settingViolations } from "../../server/domain/rules/settings.ts";
import { load } from "../support/config.ts";

describe("the documentation", () => {
  test("has a line for every setting, with five columns", () => {
    const lines = configTable().trimEnd().split("\n");
    expect(lines).toHaveLength(configEntries().length + 3);
    for (const line of lines) expect(line.split(/(?<!\\)\|/)).toHaveLength(7);
    expect(lines).toContain(
      "| `--heartbeat <duration>` | `MUSTER_HEARTBEAT` | `heartbeat` | `5s` | How often a worker shows that it lives. 50ms to 1m. |",
    );
    expect(configTable()).toContain("`MUSTER_DATABASE_URL`, `MUSTER_DATABASE_URL_FILE`, `DATABASE_URL`");
  });

  test("gives every setting a spelling of its own", () => {
    const keys = configEntries().map(([, { key }]) => key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });

  test("has flags that commander takes and loadConfig understands", () => {
    const command = new Command().exitOverride();
    for (const { flag, description } of configFlags()) command.option(flag, description);
    command.parse(
      [
        "--heartbeat",
        "1s",
        "--log-level",
        "warn",
        "--insecure-listen",
        "--cors-origins",
        "https://a.example",
      ],
      {
        from: "user",
      },
    );
    expect(load({ flags: command.opts() })).toMatchObject({
      heartbeatMs: 1_000,
      logLevel: "warn",
      allowInsecure: true,
      corsOrigins: ["https://a.example"],
    });
  });

  test("has no flag for the text of a secret", () => {
    const flags = configFlags().map(({ flag }) => flag.split(" ")[0]);
    expect(flags).toContain("--admin-key-file");
    expect(flags).not.toContain("--admin-key");
  });

  test("states bounds of the job settings that the rules accept", () => {
    const lowest = {
      reclaimAfterMs: 100,
      maxAttempts: 1,
      backoffInitialMs: 0,
      backoffMaxMs: 0,
      backoffFactor: 1,
      leaseTtlMs: 1_000,
    };
    const dayMs = 86_400_000;
    const highest = {
      reclaimAfterMs: dayMs,
      maxAttempts: 100,
      backoffInitialMs: dayMs,
      backoffMaxMs: 7 * dayMs,
      backoffFactor: 100,
      leaseTtlMs: 7 * dayMs,
    };
    for (const bound of [lowest, highest]) {
      expect(settingViolations(bound, { heartbeatMs: 50 })).toEqual([]);
      for (const name of jobSettingNames) {
        const field = configEntries().find(([one]) => one === name)?.[1];
        const text = name.endsWith("Ms") ? `${bound[name]}ms` : bound[name];
        expect(field?.read(text)).toEqual({ kind: "value", value: bound[name] });
        const beyond = bound === lowest ? bound[name] - 1 : bound[name] + 1;
        expect(field?.read(name.endsWith("Ms") ? `${beyond}ms` : beyond)).toMatchObject({ kind: "invalid" });
      }
    }
  });
});
