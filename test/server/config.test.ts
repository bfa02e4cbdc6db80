import { describe, expect, test } from "vitest";
import { advertisedApiAddress } from "../../server/config.ts";
import { settingViolations } from "../../server/domain/rules/settings.ts";
import { type Given, load, problemsOf } from "../support/config.ts";

const postgres = "postgres://muster:hunter2@db.example:5432/muster";

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
      githubTokenOrgs: [],
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
      statsMinutesMs: 21_600_000,
      statsHoursMs: 2_592_000_000,
      statsDaysMs: 34_560_000_000,
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
