import { describe, expect, test } from "vitest";
import { configFlags } from "../../server/config.ts";
import { load, loadYaml, problemsOf } from "../support/config.ts";

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
