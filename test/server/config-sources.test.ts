import { describe, expect, test } from "vitest";
import { ConfigError, redactedConfig } from "../../server/config.ts";
import { load, loadYaml, problemsOf } from "../support/config.ts";

const longSecret = "x".repeat(32);
const postgres = "postgres://muster:hunter2@db.example:5432/muster";

describe("precedence", () => {
  test("is flag, environment, file, default", () => {
    const yaml = "heartbeat: 1s\nstale: 2s\nreclaim_after: 1m\n";
    const env = { MUSTER_HEARTBEAT: "3s", MUSTER_STALE: "4s" };
    const config = loadYaml(yaml, { env, flags: { heartbeat: "2s" } });
    expect(config).toMatchObject({
      heartbeatMs: 2_000,
      staleMs: 4_000,
      reclaimAfterMs: 60_000,
      offerTtlMs: 10_000,
    });
  });

  test("prefers MUSTER_DATABASE_URL to DATABASE_URL", () => {
    expect(load({ env: { DATABASE_URL: postgres } }).databaseUrl).toBe(postgres);
    const other = "postgres:///local";
    expect(load({ env: { DATABASE_URL: postgres, MUSTER_DATABASE_URL: other } }).databaseUrl).toBe(other);
  });

  test("does not judge a value that a stronger source replaces", () => {
    expect(load({ flags: { heartbeat: "1s" }, env: { MUSTER_HEARTBEAT: "nonsense" } }).heartbeatMs).toBe(
      1_000,
    );
  });

  test("takes an empty variable and an empty file entry as absent", () => {
    expect(loadYaml("stale:\n", { env: { MUSTER_HEARTBEAT: "" } })).toMatchObject({
      heartbeatMs: 5_000,
      staleMs: 15_000,
    });
  });

  test("finds the file by MUSTER_CONFIG, and the flag --config before it", () => {
    const files = { "/a.yaml": "api_port: 1111", "/b.yaml": "api_port: 2222" };
    expect(load({ env: { MUSTER_CONFIG: "/a.yaml" }, files }).apiPort).toBe(1111);
    expect(load({ env: { MUSTER_CONFIG: "/a.yaml" }, flags: { config: "/b.yaml" }, files }).apiPort).toBe(
      2222,
    );
  });
});

describe("unknown names", () => {
  test.each([
    [{ flags: { heartbit: "5s" } }, "flag", "--heartbit", "Did you mean --heartbeat?"],
    [{ flags: { apiPrt: "1" } }, "flag", "--api-prt", "Did you mean --api-port?"],
    [
      { env: { MUSTER_MAX_ATEMPTS: "3" } },
      "environment",
      "MUSTER_MAX_ATEMPTS",
      "Did you mean MUSTER_MAX_ATTEMPTS?",
    ],
    [
      { env: { MUSTER_SECRET_FIL: "/s" } },
      "environment",
      "MUSTER_SECRET_FIL",
      "Did you mean MUSTER_SECRET_FILE?",
    ],
    [{ env: { MUSTER_COMPLETELY_ELSE: "3" } }, "environment", "MUSTER_COMPLETELY_ELSE", undefined],
  ])("are refused with the nearest known one: %j", (given, source, name, suggestion) => {
    const [problem, ...others] = problemsOf(() => load(given));
    expect(others).toEqual([]);
    expect(problem).toMatchObject({ source, name, message: "is not a setting" });
    expect(problem?.suggestion).toBe(suggestion);
  });

  test("in the file are refused with their line", () => {
    expect(problemsOf(() => loadYaml("heartbeat: 5s\n\napiPort: 1\n"))).toEqual([
      {
        source: "file",
        name: "apiPort",
        message: "is not a setting (muster.yaml:3)",
        suggestion: "Did you mean api_port?",
      },
    ]);
  });

  test("never suggest a flag that is refused", () => {
    const [problem] = problemsOf(() => load({ flags: { "database-ur": "x" } }));
    expect(problem?.suggestion).toBeUndefined();
  });

  test("of clients, and those that the caller names, are let pass", () => {
    const env = { MUSTER_API_KEY: "k", MUSTER_ADDRESS: "a", MUSTER_TEST_SEED: "7", MUSTERED: "1" };
    expect(problemsOf(() => load({ env, otherVariables: ["MUSTER_TEST_SEED"] }))).toEqual([]);
  });
});

describe("the file", () => {
  test("that cannot be read is a problem of who named it", () => {
    expect(problemsOf(() => load({ env: { MUSTER_CONFIG: "/none.yaml" } }))).toMatchObject([
      {
        source: "environment",
        name: "MUSTER_CONFIG",
        message: "names a file that cannot be read (ENOENT)",
      },
    ]);
    expect(problemsOf(() => load({ flags: { config: true } }))).toMatchObject([
      { source: "flag", name: "--config", message: "is not a path" },
    ]);
  });

  test.each([
    ["an unclosed list", "api_port: 1\ncors_origins: [a\nstale: 5s\n", "muster.yaml:3"],
    ["a tab", "api_port: 1\n\tstale: 5s\n", "muster.yaml:2"],
    ["a setting given twice", "stale: 5s\nstale: 6s\n", "muster.yaml:2"],
    ["two documents", "stale: 20s\n---\nstale: 20s\n", "muster.yaml:2"],
  ])("that is malformed by %s is refused with file and line", (_, yaml, place) => {
    const [problem] = problemsOf(() => loadYaml(yaml));
    expect(problem).toMatchObject({ source: "file", name: "muster.yaml" });
    expect(problem?.message).toMatch(/^is not YAML: /);
    expect(problem?.message).toContain(`(${place})`);
  });

  test.each(["- heartbeat\n", "heartbeat\n"])("that is no map is refused: %j", (yaml) => {
    expect(problemsOf(() => loadYaml(yaml))).toMatchObject([
      { message: "does not hold settings (muster.yaml:1)" },
    ]);
  });

  test.each(["stale: *missing\n", "stale: {a: 1}\n", "stale: [1]\n"])(
    "with a value of the wrong shape is refused with its line: %j",
    (yaml) => {
      expect(problemsOf(() => loadYaml(yaml))).toMatchObject([
        { source: "file", name: "stale", message: expect.stringContaining("(muster.yaml:1)") },
      ]);
    },
  );

  test("may be empty", () => {
    expect(loadYaml("# nothing yet\n")).toEqual(load());
  });
});

describe("secrets", () => {
  test.each([
    ["the environment", { env: { MUSTER_SECRET_FILE: "/run/s" } }],
    ["a flag", { flags: { "secret-file": "/run/s" } }],
    ["the file", { flags: { config: "/c.yaml" } }],
  ])("are read from a file that %s names, without the line end", (_, given) => {
    const files = { "/run/s": `${longSecret}\n`, "/c.yaml": "secret_file: /run/s\n" };
    expect(load({ ...given, files }).secret).toBe(longSecret);
  });

  test("are refused as flags, without being repeated", () => {
    const [problem] = problemsOf(() => load({ flags: { databaseUrl: postgres } }));
    expect(problem?.name).toBe("--database-url");
    expect(problem?.suggestion).toBe("Use --database-url-file, or the variable MUSTER_DATABASE_URL.");
    expect(JSON.stringify(problem)).not.toContain("hunter2");
  });

  test("are refused when given as text and as a file at once", () => {
    const env = { MUSTER_SECRET: longSecret, MUSTER_SECRET_FILE: "/run/s" };
    expect(problemsOf(() => load({ env }))).toMatchObject([
      { name: "MUSTER_SECRET_FILE", message: "is the same setting as MUSTER_SECRET" },
    ]);
  });

  test("that are too short are refused", () => {
    const [problem] = problemsOf(() => load({ env: { MUSTER_SECRET: "changeme" } }));
    expect(problem?.suggestion).toContain("openssl rand");
  });

  test("never appear in what is printed or thrown", () => {
    const roles = {
      MUSTER_DATABASE_APP_URL: postgres,
      MUSTER_DATABASE_HOT_URL: postgres,
      MUSTER_DATABASE_SWEEP_URL: postgres,
    };
    const env = {
      DATABASE_URL: postgres,
      MUSTER_SECRET: `${longSecret}hunter2`,
      MUSTER_ADMIN_KEY: `${longSecret}hunter2`,
      ...roles,
    };
    const printed = redactedConfig(load({ env }));
    expect(JSON.stringify(printed)).not.toContain("hunter2");
    expect(printed).toMatchObject({
      databaseUrl: "(set)",
      secret: "(set)",
      adminKey: "(set)",
      tlsCert: null,
      apiPort: 7070,
    });

    for (const name of [...Object.keys(env), "MUSTER_SECRET_FILE", "MUSTER_DATABASE_URL_FILE"]) {
      const wrong = load.bind(undefined, { env: { [name]: "hun ter2" } });
      expect(problemsOf(wrong)).not.toEqual([]);
      expect(wrong).not.toThrow(/hun ter2/);
    }
    for (const yaml of [
      "secret: [hunter2\n",
      'secret: "hunter2\n',
      "secret: a: hunter2\n",
      "secret: @hunter2\n",
      "secret: 1\n\thunter2\n",
      "secret: |hunter2\n  x\n",
      "secret: > x hunter2\n  y\n",
      "secret: }hunter2\n",
      "%YAML hunter2\n---\nsecret: 1\n",
      "secret: !a!hunter2 x\n",
      "secret: !hunter2! x\n",
    ]) {
      expect(() => loadYaml(yaml)).toThrow(ConfigError);
      expect(() => loadYaml(yaml)).not.toThrow(/hunter2/);
    }
  });
});

test("reports every problem of every source at once, a line each", () => {
  const run = () =>
    loadYaml("lease_tl: 4h\nlease_ttl: 4\n", { flags: { nope: true, stale: "1" }, env: { MUSTER_X: "1" } });
  expect(problemsOf(run).map(({ source, name }) => `${source} ${name}`)).toEqual([
    "flag --nope",
    "environment MUSTER_X",
    "file lease_tl",
    "flag --stale",
    "file lease_ttl",
  ]);
  expect(run).toThrow(/^The configuration has 5 problems:\n( {2}\S.*\n?){5}$/);
});
