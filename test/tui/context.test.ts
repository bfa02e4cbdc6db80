import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
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
    mkdirSync(join(directory.path, "muster", "keys"), { recursive: true });
    write("muster/keys/127.0.0.1_7070.key", "mk_local\n");
    write("muster/keys/127.0.0.1_9.key", "mk_nine\n");
    expect(findContext({}, surroundings())).toMatchObject({
      address: "http://127.0.0.1:7070",
      key: "mk_local",
    });
    for (const address of ["localhost:9", "http://127.0.0.1:9/", "[::1]:9", "https://LOCALHOST:9"]) {
      expect(findContext({ address }, surroundings()).key).toBe("mk_nine");
    }
    expect(findContext({ address: "localhost" }, surroundings()).key).toBeUndefined();
    expect(findContext({ address: "http://muster.example" }, surroundings()).key).toBeUndefined();
    expect(findContext({ address: "http://127.0.0.1.evil.example" }, surroundings()).key).toBeUndefined();
  });

  test("tells the flag that named the address, for commands to suggest, safe for a shell", () => {
    const flagOf = (address: string) => findContext({ address }, surroundings()).addressFlag;
    expect(flagOf("localhost:9")).toBe(" --address http://localhost:9");
    expect(flagOf("http://[::1]:9/$(x)'")).toBe(" --address 'http://[::1]:9/$(x)%27'");
    expect(findContext({}, surroundings({ MUSTER_ADDRESS: "http://a:1" })).addressFlag).toBe("");
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

test("a key on the command line is refused and not repeated", async () => {
  const ran = await runCli(["job", "list", "--api-key", "mk_secret"]);
  expect(ran.exitCode).toBe(2);
  expect(ran.stderr).toContain("use --api-key-file");
  expect(ran.stderr).not.toContain("mk_secret");
});
