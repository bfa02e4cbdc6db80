import { Command } from "commander";
import { describe, expect, test } from "vitest";
import {
  advertisedApiAddress,
  type Config,
  ConfigError,
  configFlags,
  configTable,
  loadConfig,
} from "../../server/config.ts";
import { configEntries } from "../../server/config-fields.ts";
import type { ConfigInput, ConfigProblem } from "../../server/config-sources.ts";
import { jobSettingNames, settingViolations } from "../../server/domain/rules/settings.ts";

const postgres = "postgres://muster:hunter2@db.example:5432/muster";

interface Given {
  readonly flags?: ConfigInput["flags"];
  readonly env?: ConfigInput["env"];
  readonly files?: Readonly<Record<string, string>>;
}

function load({ flags = {}, env = {}, files = {} }: Given = {}): Config {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`ENOENT: open '${path}'`), { code: "ENOENT" });
    return text;
  };
  return loadConfig({ flags, env: { HOME: "/home/ada", ...env }, readFile });
}

/** With a file of settings. */
function loadYaml(yaml: string, given: Given = {}): Config {
  return load({ ...given, flags: { ...given.flags, config: "muster.yaml" }, files: { "muster.yaml": yaml } });
}

function problemsOf(run: () => unknown): readonly ConfigProblem[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe("defaults", () => {
  test("are complete without flags, environment and file", () => {
    expect(load()).toEqual({
      apiHost: "127.0.0.1",
      apiPort: 7070,
      workerHost: "127.0.0.1",
      workerPort: 7071,
      apiAddress: undefined,
      allowInsecure: false,
      tlsCert: undefined,
      tlsKey: undefined,
      tlsCa: undefined,
      tlsClientCert: "required",
      tlsDenied: undefined,
      connectionsPerAddress: 2_000,
      linksPerOrg: 20_000,
      databaseUrl: undefined,
      databaseAppUrl: undefined,
      databaseHotUrl: undefined,
      databaseSweepUrl: undefined,
      dataDir: "/home/ada/.local/state/muster/data",
      secret: undefined,
      secretPrevious: undefined,
      adminKey: undefined,
      keyPrefix: "mk",
      keyHmacSecret: undefined,
      badKeysPerMinute: 60,
      githubApiUrl: "https://api.github.com",
      githubToken: undefined,
      backupPlace: "/home/ada/.local/state/muster/backups",
      backupEndpoint: undefined,
      backupRegion: "us-east-1",
      registration: "off",
      registrationRole: "viewer",
      passwordCost: 17,
      accessTokenTtlMs: 900_000,
      refreshTokenTtlMs: 604_800_000,
      tokenIssuer: "muster",
      oidcIssuer: undefined,
      oidcAudience: undefined,
      oidcJwksUrl: undefined,
      oidcOrg: "default",
      oidcRoleClaim: undefined,
      oidcRoles: [],
      githubClientId: undefined,
      githubLoginUrl: "https://github.com",
      outboundAllow: [],
      smtpUrl: undefined,
      sendgridKey: undefined,
      sendgridUrl: "https://api.sendgrid.com",
      mailFrom: undefined,
      kinds: true,
      heartbeatMs: 5_000,
      staleMs: 15_000,
      offerTtlMs: 10_000,
      killGraceMs: 10_000,
      cancelSuspectMs: 20_000,
      quarantineLosses: 3,
      watchesPerOrg: 200,
      hellosPerSecond: 200,
      outageGraceMs: 30_000,
      helloTimeoutMs: 5_000,
      reclaimAfterMs: 30_000,
      maxAttempts: 3,
      backoffInitialMs: 5_000,
      backoffMaxMs: 600_000,
      backoffFactor: 2,
      leaseTtlMs: 14_400_000,
      maxPayloadBytes: 1_048_576,
      idempotencyTtlMs: 604_800_000,
      lateResultTtlMs: 604_800_000,
      scheduleHistoryMs: 2_592_000_000,
      hotConnections: 6,
      appConnections: 10,
      databaseTimeoutMs: 6_000,
      artifactsDir: "/home/ada/.local/state/muster/artifacts",
      shutdownGraceMs: 30_000,
      logLevel: "info",
      logFormat: "json",
      corsOrigins: [],
      reflection: "on",
    });
  });

  test("suspect a worker after twice the kill grace, and never at once", () => {
    expect(load({ flags: { "kill-grace": "1m" } }).cancelSuspectMs).toBe(120_000);
    expect(load({ flags: { "kill-grace": "0s" } }).cancelSuspectMs).toBe(1_000);
    expect(load({ flags: { "cancel-suspect": "5s" } }).cancelSuspectMs).toBe(5_000);
  });

  test("put the data below XDG_STATE_HOME, and the artifacts beside the data directory", () => {
    const below = load({ env: { XDG_STATE_HOME: "/state" } });
    expect([below.dataDir, below.artifactsDir]).toEqual(["/state/muster/data", "/state/muster/artifacts"]);
    expect(load({ flags: { "data-dir": "/srv/muster/pg" } }).artifactsDir).toBe("/srv/muster/artifacts");
  });

  test("ask for a data directory where there is no home", () => {
    expect(problemsOf(() => load({ env: { HOME: undefined } }))).toEqual([
      {
        source: "default",
        name: "data-dir",
        message: "has no default: neither XDG_STATE_HOME nor HOME is set",
        suggestion: "Give a directory with --data-dir.",
      },
    ]);
  });

  test("keep the bounds of the job settings", () => {
    const config = load();
    expect(settingViolations(config, config)).toEqual([]);
  });
});

describe("values", () => {
  test.each([
    ["https://ghe.example/api/v3/", "https://ghe.example/api/v3"],
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
  ])("reads the address of a GitHub %s", (given, address) => {
    expect(load({ flags: { "github-api-url": given } }).githubApiUrl).toBe(address);
  });

  test.each([
    "ghe.example",
    "ftp://ghe.example",
    "https://kim:x@ghe.example",
    "https://ghe.example/?a=1",
    "",
  ])("refuses the address of a GitHub %j", (given) => {
    const [problem] = problemsOf(() => load({ flags: { "github-api-url": given } }));
    expect(problem).toMatchObject({ source: "flag", name: "--github-api-url" });
  });

  test("takes a token of GitHub from the environment or a file, and never shows it", () => {
    expect(load({ env: { MUSTER_GITHUB_TOKEN: "ghp_x" } }).githubToken).toBe("ghp_x");
    const [problem] = problemsOf(() => load({ env: { MUSTER_GITHUB_TOKEN: "ghp x" } }));
    expect(problem).toMatchObject({ name: "MUSTER_GITHUB_TOKEN", suggestion: "Copy it whole." });
    expect(JSON.stringify(problem)).not.toContain("ghp x");
  });

  test("runs the built-in kinds unless told otherwise", () => {
    expect(load({ flags: { kinds: false } }).kinds).toBe(false);
    expect(load({ env: { MUSTER_OIDC_ROLES: "a=b=admin, staff=viewer" } }).oidcRoles).toEqual([
      "a=b=admin",
      "staff=viewer",
    ]);
    expect(loadYaml("oidc_roles: { ops: operator }").oidcRoles).toEqual(["ops=operator"]);
    const [wrongRole] = problemsOf(() => load({ env: { MUSTER_OIDC_ROLES: "staff=root" } }));
    expect(wrongRole).toMatchObject({ name: "MUSTER_OIDC_ROLES" });
    expect(load({ env: { MUSTER_KINDS: "off" } }).kinds).toBe(false);
    expect(configFlags().map((flag) => flag.flag)).toContain("--no-kinds");
  });

  test.each([
    ["250ms", 250],
    ["90s", 90_000],
    ["1.5m", 90_000],
    ["1h30m", 5_400_000],
    ["7d", 604_800_000],
  ])("reads the duration %s", (text, ms) => {
    const config = load({ flags: { "backoff-max": text, "backoff-initial": "0s" } });
    expect(config.backoffMaxMs).toBe(ms);
  });

  test.each(["30", "-5s", "5 s", "s", "5sec", "5S", "1e3s", "", "5s5", "constructor"])(
    "refuses the duration %j",
    (text) => {
      const [problem] = problemsOf(() => load({ flags: { "backoff-max": text } }));
      expect(problem).toMatchObject({ source: "flag", name: "--backoff-max" });
      expect(problem?.suggestion).toContain("like 30s");
    },
  );

  test.each([
    ["1MiB", 1_048_576],
    ["512KiB", 524_288],
    ["1MB", 1_000_000],
    ["4096B", 4_096],
  ])("reads the size %s", (text, bytes) => {
    expect(load({ flags: { "max-payload": text } }).maxPayloadBytes).toBe(bytes);
  });

  test.each([
    ["max-payload", "2MiB", "Write a size from 1KiB to 1MiB."],
    ["max-payload", "4096", "Write a number and a unit (B, KB, MB, GB, KiB, MiB, GiB), like 512KiB."],
    ["lease-ttl", "8d", "Write a duration from 1s to 7d."],
    ["log-format", "xml", "Write one of json, pretty."],
    ["insecure-listen", "maybe", "Write true or false."],
    ["api-host", "http://x", "Write a host alone, like 127.0.0.1 or ::1."],
    ["api-address", "x:7070", "Write it like https://muster.example:7070."],
    ["cors-origins", "https://a.example/path", "Write it like https://app.example."],
  ])("refuses --%s %s and says what to write", (flag, text, suggestion) => {
    expect(problemsOf(() => load({ flags: { [flag]: text } }))).toMatchObject([
      { name: `--${flag}`, suggestion },
    ]);
  });

  test.each([
    ["api-port", "70000", 'is not a whole number from 0 to 65535: "70000"'],
    ["max-attempts", "2.5", 'is not a whole number from 1 to 100: "2.5"'],
    ["backoff-factor", "0.5", 'is not a number from 1 to 100: "0.5"'],
    ["data-dir", "", 'is not a path: ""'],
  ])("refuses --%s %j", (flag, text, message) => {
    expect(problemsOf(() => load({ flags: { [flag]: text } }))).toMatchObject([
      { name: `--${flag}`, message },
    ]);
  });

  test("takes YAML numbers, booleans and lists", () => {
    const yaml =
      "api_port: 0\ninsecure_listen: true\nbackoff_factor: 1.5\ncors_origins: [https://a.example, http://b.example:81/]\n";
    expect(loadYaml(yaml)).toMatchObject({
      apiPort: 0,
      allowInsecure: true,
      backoffFactor: 1.5,
      corsOrigins: ["https://a.example", "http://b.example:81"],
    });
  });

  test("splits web origins at commas", () => {
    const env = { MUSTER_CORS_ORIGINS: "https://a.example, https://b.example," };
    expect(load({ env }).corsOrigins).toEqual(["https://a.example", "https://b.example"]);
  });
});

describe("rules over several settings", () => {
  const tls = { "tls-cert": "/c.pem", "tls-key": "/k.pem" };
  const pems = { "/c.pem": "", "/k.pem": "", "/ca.pem": "" };

  test.each<[string, Given, string]>([
    ["heartbeat below stale", { flags: { stale: "5s" } }, "--stale"],
    ["stale below reclaim-after", { flags: { stale: "30s" } }, "--stale"],
    [
      "two heartbeats within reclaim-after",
      { flags: { heartbeat: "10s", "reclaim-after": "19s" } },
      "--reclaim-after",
    ],
    ["backoff-initial at most backoff-max", { env: { MUSTER_BACKOFF_MAX: "1s" } }, "MUSTER_BACKOFF_MAX"],
    ["different ports", { flags: { "api-port": "7071" } }, "--api-port"],
    ["a key with a certificate", { flags: { "tls-cert": "/c.pem" }, files: pems }, "--tls-cert"],
    ["a certificate with an authority", { flags: { "tls-ca": "/ca.pem" }, files: pems }, "--tls-ca"],
    ["loopback for the API", { flags: { "api-host": "0.0.0.0" } }, "--api-host"],
    ["loopback for workers", { env: { MUSTER_WORKER_HOST: "192.168.1.7" } }, "MUSTER_WORKER_HOST"],
    [
      "all addresses of the roles",
      { env: { DATABASE_URL: postgres, MUSTER_DATABASE_HOT_URL: postgres } },
      "MUSTER_DATABASE_HOT_URL",
    ],
  ])("ask for %s, and blame what was given", (_, given, name) => {
    expect(problemsOf(() => load(given))).toMatchObject([{ name }]);
  });

  test.each([
    ["with TLS", { flags: { "api-host": "0.0.0.0", "worker-host": "::", ...tls }, files: pems }],
    ["with the flag", { flags: { apiHost: "0.0.0.0", workerHost: "10.0.0.1", insecureListen: true } }],
    ["on loopback", { flags: { "api-host": "localhost", "worker-host": "[::1]" } }],
    ["on all of 127.0.0.0/8", { flags: { "api-host": "127.8.8.8" } }],
  ])("allow listening %s", (_, given) => {
    expect(problemsOf(() => load(given))).toEqual([]);
  });

  test("allow the same port on different hosts, and free ports twice", () => {
    expect(problemsOf(() => load({ flags: { "api-port": "7071", "api-host": "::1" } }))).toEqual([]);
    expect(problemsOf(() => load({ flags: { "api-port": "0", "worker-port": "0" } }))).toEqual([]);
  });

  test("tell how to listen safely", () => {
    const [problem] = problemsOf(() => load({ flags: { "api-host": "muster.example" } }));
    expect(problem?.suggestion).toContain("--tls-cert");
    expect(problem?.suggestion).toContain("--insecure-listen");
  });

  test("are silent about settings that are broken already", () => {
    expect(problemsOf(() => load({ flags: { heartbeat: "often" } }))).toHaveLength(1);
  });

  test("ask for a certificate that can be read", () => {
    const problems = problemsOf(() => load({ flags: tls, files: { "/k.pem": "" } }));
    expect(problems).toMatchObject([
      { name: "--tls-cert", message: "names a file that cannot be read (ENOENT)" },
    ]);
  });
});

test("does not let a loaded configuration be changed", () => {
  expect(() => Object.assign(load(), { apiPort: 1 })).toThrow(TypeError);
});

test.each<[Given, string | undefined]>([
  [{}, "http://127.0.0.1:4000"],
  [{ flags: { "api-host": "::1" } }, "http://[::1]:4000"],
  [{ flags: { "api-host": "0.0.0.0", "insecure-listen": true } }, undefined],
  [{ flags: { "api-address": "https://muster.example/" } }, "https://muster.example"],
  [{ flags: { "tls-cert": "/c", "tls-key": "/k" }, files: { "/c": "", "/k": "" } }, "https://127.0.0.1:4000"],
])("advertises the API address of %j", (given, address) => {
  expect(advertisedApiAddress(load(given), 4000)).toBe(address);
});

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
