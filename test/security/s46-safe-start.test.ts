import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ConfigError, loadConfig } from "../../server/config.ts";
import { keptAdminKey, secretsOf } from "../../server/kept-files.ts";
import { openDataDirectory } from "../../server/store/embedded-files.ts";
import { settleConfig } from "../../tui/commands/coordinator.ts";
import { testConfig } from "../support/database.ts";

describe("S46 nothing listens beyond loopback without TLS and keys", () => {
  const load = (flags: Record<string, string | boolean>) =>
    loadConfig({ flags, env: { HOME: "/nonexistent" }, readFile: () => "" });

  test.each(["api-host", "worker-host"])(
    "--%s of another machine is refused, unless a flag says so",
    (flag) => {
      expect(() => load({ [flag]: "0.0.0.0" })).toThrow(ConfigError);
      expect(() => load({ [flag]: "0.0.0.0" })).toThrow("--insecure-listen");
      load({ [flag]: "0.0.0.0", "insecure-listen": true });
      load({ [flag]: "0.0.0.0", "tls-cert": "/cert", "tls-key": "/key" });
      load({ [flag]: "127.0.0.1" });
    },
  );

  test("the command exits with 78 and a suggestion", async () => {
    const settled = settleConfig({ apiHost: "0.0.0.0" }, { env: { HOME: "/nonexistent" }, cwd: "/" });
    await expect(settled).rejects.toMatchObject({ exitCode: 78 });
  });

  test("the data directory is its owner's alone, and so are its secrets, which each start makes anew", async () => {
    const folder = mkdtempSync(join(tmpdir(), "muster-safe-"));
    try {
      const made = ["one", "two"].map((name) => ({ ...testConfig(), dataDir: join(folder, name) }));
      const secrets: string[] = [];
      for (const config of made) {
        await openDataDirectory(config.dataDir);
        expect(statSync(config.dataDir).mode & 0o777).toBe(0o700);
        secrets.push(secretsOf(config)[0], keptAdminKey(config).key);
        for (const name of ["muster.secret", "admin.key"]) {
          expect(statSync(join(config.dataDir, name)).mode & 0o777).toBe(0o600);
        }
      }
      expect(new Set(secrets).size).toBe(4);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
