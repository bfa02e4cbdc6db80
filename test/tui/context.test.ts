import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { dropLocalKey, keepLocalKey } from "../../tui/commands/coordinator.ts";
import { findContext } from "../../tui/context.ts";
import { makeDirectory, runCli } from "./run-cli.ts";

let directory: ReturnType<typeof makeDirectory>;

beforeEach(() => {
  directory = makeDirectory();
});

afterEach(() => directory.remove());

function surroundings(env: Record<string, string> = {}) {
  return {
    env: { XDG_STATE_HOME: directory.path, ...env },
    home: "/nonexistent",
    cwd: directory.path,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: new AbortController().signal,
    forced: new AbortController().signal,
    now: Date.now,
  };
}

function write(name: string, text: string, mode = 0o600): void {
  writeFileSync(join(directory.path, name), text, { mode });
}

describe("findContext", () => {
  test("prefers flags to the environment, and a file to a key of the environment only by flag", () => {
    write("flag.key", "mk_flag\n");
    write("env.key", "mk_env_file\n");
    const env = { MUSTER_ADDRESS: "http://a:1", MUSTER_API_KEY_FILE: "env.key" };
    expect(findContext({}, surroundings(env))).toMatchObject({ address: "http://a:1", key: "mk_env_file" });
    expect(findContext({}, surroundings({ ...env, MUSTER_API_KEY: "mk_env" }))).toMatchObject({
      key: "mk_env",
    });
    const flags = { address: "https://b:2/base/", apiKeyFile: "flag.key" };
    expect(findContext(flags, surroundings({ ...env, MUSTER_API_KEY: "mk_env" }))).toMatchObject({
      address: "https://b:2/base",
      key: "mk_flag",
    });
  });

  test("uses the key of a local coordinator for this machine only", () => {
    mkdirSync(join(directory.path, "muster"));
    write("muster/admin.key", "mk_local\n");
    expect(findContext({}, surroundings())).toMatchObject({
      address: "http://127.0.0.1:7070",
      key: "mk_local",
    });
    expect(findContext({ address: "localhost:9" }, surroundings())).toMatchObject({ key: "mk_local" });
    expect(findContext({ address: "http://muster.example" }, surroundings()).key).toBeUndefined();
    expect(findContext({ address: "http://127.0.0.1.evil.example" }, surroundings()).key).toBeUndefined();
  });

  test("warns of a key file that others can read", () => {
    write("open.key", "mk_open", 0o644);
    expect(findContext({ apiKeyFile: "open.key" }, surroundings()).warnings).toEqual([
      "the key file open.key can be read by others on this machine; run: chmod 600 open.key",
    ]);
  });

  test.each(["ftp://x", "http://user:pw@x", "http://x?y=1", "not a url"])(
    "refuses the address %s",
    (address) => {
      expect(() => findContext({ address }, surroundings())).toThrow(
        "--address is not the address of a coordinator",
      );
    },
  );

  test("refuses a key file that is missing or holds no key", () => {
    write("two.key", "mk_a\nmk_b\n");
    expect(() => findContext({ apiKeyFile: "none" }, surroundings())).toThrow(
      "cannot read none: no such file",
    );
    expect(() => findContext({ apiKeyFile: "two.key" }, surroundings())).toThrow(
      "two.key does not hold a key",
    );
  });
});

describe("the key of a local coordinator", () => {
  const coordinator = { apiAddress: "http://127.0.0.1:7070", bootstrapKey: "mk_new", adminKeyFile: null };
  const config = { dataDir: "/nonexistent", databaseUrl: undefined };

  test("is kept for this user alone, replaced, and dropped only if it is still the same", () => {
    const kept = keepLocalKey(coordinator, config, surroundings());
    expect(kept).toMatchObject({ key: "mk_new", path: join(directory.path, "muster", "admin.key") });
    expect(statSync(kept?.path ?? "").mode & 0o777).toBe(0o600);
    keepLocalKey({ ...coordinator, bootstrapKey: "mk_newer" }, config, surroundings());
    dropLocalKey("mk_new", surroundings());
    expect(findContext({}, surroundings()).key).toBe("mk_newer");
    dropLocalKey("mk_newer", surroundings());
    expect(findContext({}, surroundings()).key).toBeUndefined();
  });

  test("is read from where the coordinator keeps it, and never kept for other machines", () => {
    mkdirSync(join(directory.path, "data"));
    write("data/admin.key", "mk_kept\n");
    const again = { ...coordinator, bootstrapKey: null };
    const embedded = { dataDir: join(directory.path, "data"), databaseUrl: undefined };
    expect(keepLocalKey(again, embedded, surroundings())?.key).toBe("mk_kept");
    expect(keepLocalKey(again, { ...embedded, databaseUrl: "postgres://x" }, surroundings())).toBeUndefined();
    const elsewhere = { ...coordinator, apiAddress: "http://10.0.0.1:7070" };
    expect(keepLocalKey(elsewhere, config, surroundings())).toBeUndefined();
  });
});

test("a key on the command line is refused and not repeated", async () => {
  const ran = await runCli(["job", "list", "--api-key", "mk_secret"]);
  expect(ran.exitCode).toBe(2);
  expect(ran.stderr).toContain("use --api-key-file");
  expect(ran.stderr).not.toContain("mk_secret");
});
