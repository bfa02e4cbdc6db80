import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let one: ApiPeer;
let other: ApiPeer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;

beforeEach(async () => {
  [one, other] = [await startApiPeer(), await startApiPeer()];
  directory = makeDirectory();
  mkdirSync(at("work/deep"), { recursive: true });
  input = { cwd: at("work/deep"), home: at("home"), env: { XDG_CONFIG_HOME: at("config") } };
});

afterEach(async () => {
  await Promise.all([one.close(), other.close()]);
  directory.remove();
});

const at = (name: string): string => join(directory.path, name);
const withEnv = (env: Record<string, string>): RunInput => ({ ...input, env: { ...input.env, ...env } });

function write(name: string, text: string, mode = 0o600): void {
  mkdirSync(dirname(at(name)), { recursive: true });
  writeFileSync(at(name), text, { mode });
}

async function logIn(name: string, peer: ApiPeer): Promise<void> {
  const ran = await runCli(["login", "-c", name, "--address", peer.address, "--api-key-stdin"], {
    ...input,
    stdin: `${peer.key}\n`,
  });
  expect(ran).toMatchObject({ exitCode: 0, stdout: "" });
}

describe("login", () => {
  test("checks the key, keeps it for this user alone, and goes there from now on", async () => {
    await logIn("prod", one);
    expect(statSync(at("config/muster/credentials.yaml")).mode & 0o777).toBe(0o600);
    expect(readFileSync(at("config/muster/config.yaml"), "utf8")).not.toContain(one.key);
    expect((await runCli(["job", "list"], input)).exitCode).toBe(0);
    expect(one.calls).toEqual(["WhoAmI", "ListJobs"]);
    expect((await runCli(["context", "current"], input)).stdout).toBe("prod\n");
    await logIn("lab", other);
    expect((await runCli(["context", "current"], input)).stdout).toBe("prod\n");
    expect((await runCli(["job", "list", "-c", "lab"], input)).exitCode).toBe(0);
    expect((await runCli(["job", "list"], withEnv({ MUSTER_CONTEXT: "lab" }))).exitCode).toBe(0);
    expect(other.calls).toEqual(["WhoAmI", "ListJobs", "ListJobs"]);
  });

  test("keeps nothing of a key that is refused, and never shows it", async () => {
    const ran = await runCli(["login", "-c", "prod", "--address", one.address, "--api-key-stdin"], {
      ...input,
      stdin: "mk_api_wrong\n",
    });
    expect(ran.exitCode).toBe(4);
    expect(ran.stdout + ran.stderr).not.toContain("mk_api_wrong");
    expect((await runCli(["context", "list", "-o", "name"], input)).stdout).toBe("");
  });

  test("asks for the key at a terminal, and shows nothing of it", async () => {
    const ran = await runCli(["login", "--address", one.address], {
      ...input,
      typed: `${one.key}\n`,
      terminal: { columns: 80, rows: 24 },
    });
    expect(ran.exitCode).toBe(0);
    expect(ran.stderr).toContain(`API key for ${one.address}: `);
    expect(ran.stderr).not.toContain(one.key);
    expect((await runCli(["context", "current"], input)).stdout).toBe("default\n");
  });

  test("says what is missing where nobody can be asked", async () => {
    const nobody = await runCli(["login", "-c", "prod", "--address", one.address], input);
    expect(nobody).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("--api-key-stdin") });
    const nowhere = await runCli(["login", "-c", "prod"], input);
    expect(nowhere).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("has no address yet") });
    const unreadable = await runCli(["login", "--address", one.address, "--api-key-file", "none"], input);
    expect(unreadable).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("cannot read none") });
  });

  test("is undone by logout", async () => {
    await logIn("prod", one);
    expect((await runCli(["logout"], input)).stderr).toContain("is forgotten here");
    expect((await runCli(["job", "list"], input)).exitCode).toBe(4);
    expect((await runCli(["logout"], input)).stderr).toContain("No key of prod");
  });
});

describe("the key", () => {
  test("does not go to an address that its context was moved to", async () => {
    await logIn("prod", one);
    await runCli(["context", "edit", "prod", "--address", other.address], input);
    expect((await runCli(["job", "list"], input)).exitCode).toBe(4);
    expect((await runCli(["job", "list", "-c", "prod", "--address", other.address], input)).exitCode).toBe(4);
    expect((await runCli(["job", "list", "--address", one.address], input)).exitCode).toBe(4);
  });

  test("is not taken from a file that others may read", async () => {
    await logIn("prod", one);
    write("config/muster/credentials.yaml", readFileSync(at("config/muster/credentials.yaml"), "utf8"));
    const { chmodSync } = await import("node:fs");
    chmodSync(at("config/muster/credentials.yaml"), 0o640);
    const ran = await runCli(["job", "list"], input);
    expect(ran).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("chmod 600 ") });
    expect(one.calls).toEqual(["WhoAmI"]);
  });
});

describe("a project's file", () => {
  test("chooses a context for all directories below it", async () => {
    await logIn("prod", one);
    await logIn("lab", other);
    write("work/.muster.yaml", "context: lab\n");
    expect((await runCli(["job", "list"], input)).exitCode).toBe(0);
    expect(other.calls).toContain("ListJobs");
    expect((await runCli(["job", "list", "-c", "prod"], input)).exitCode).toBe(0);
    expect((await runCli(["job", "list"], withEnv({ MUSTER_CONTEXT: "prod" }))).exitCode).toBe(0);
    expect(one.calls.filter((name) => name === "ListJobs")).toHaveLength(2);
  });

  test("cannot send a key anywhere: neither by an address, nor one of the environment by a context", async () => {
    write("work/.muster.yaml", `address: ${other.address}\n`);
    const keyed = withEnv({ MUSTER_API_KEY: other.key, MUSTER_ADDRESS: one.address });
    expect(await runCli(["job", "list"], keyed)).toMatchObject({
      exitCode: 78,
      stderr: expect.stringContaining(".muster.yaml:1:1: address: a project may name a context"),
    });
    await runCli(["context", "add", "vendor", "--address", other.address], { ...input, cwd: directory.path });
    write("work/.muster.yaml", "context: vendor\n");
    const steered = await runCli(["job", "list"], withEnv({ MUSTER_API_KEY: other.key }));
    expect(steered.exitCode).toBe(4);
    expect(steered.stderr).toContain("warning: the key of the environment is not sent");
    expect(other.calls).toEqual(["ListJobs"]);
    const meant = await runCli(["job", "list", "-c", "vendor"], withEnv({ MUSTER_API_KEY: other.key }));
    expect(meant.exitCode).toBe(0);
  });

  test("cannot take back that something is read-only", async () => {
    await logIn("prod", one);
    await runCli(["config", "set", "readOnly", "true"], input);
    write("work/.muster.yaml", "readOnly: false\n");
    const ran = await runCli(["job", "cancel", "job_01jd9y3f4k8qkx2m0000000000"], input);
    expect(ran).toMatchObject({ exitCode: 4, stderr: expect.stringContaining("READ_ONLY") });
    expect(one.calls).toEqual(["WhoAmI"]);
  });

  test("names a context that this user has not: the error says how to make it", async () => {
    write("work/.muster.yaml", "context: acme\n");
    const ran = await runCli(["job", "list"], input);
    expect(ran).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("muster login -c acme --address URL"),
    });
    expect((await runCli(["job", "list", "--address", one.address], input)).exitCode).toBe(4);
  });
});

describe("context and config", () => {
  test("add, list, use, rename and remove contexts; a comment in the file stays", async () => {
    write("config/muster/config.yaml", "# mine\noutput: text\n");
    await logIn("prod", one);
    expect(
      (await runCli(["context", "add", "lab", "--address", other.address, "--read-only"], input)).exitCode,
    ).toBe(0);
    expect((await runCli(["context", "list"], input)).stdout).toBe(
      `CONTEXT\tUSED\tADDRESS\tKEY\tACCESS\nprod\t*\t${one.address}\tyes\t\nlab\t\t${other.address}\tno\tread-only\n`,
    );
    expect((await runCli(["context", "add", "lab", "--address", "x"], input)).exitCode).toBe(5);
    expect((await runCli(["context", "rename", "prod", "production"], input)).exitCode).toBe(0);
    expect((await runCli(["job", "list"], input)).exitCode).toBe(0);
    expect((await runCli(["context", "use", "prd"], input)).exitCode).toBe(2);
    expect((await runCli(["context", "use", "lab"], input)).exitCode).toBe(0);
    expect(await runCli(["context", "remove", "lab"], input)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("muster context remove lab --yes"),
    });
    expect((await runCli(["context", "remove", "lab", "--yes"], input)).exitCode).toBe(0);
    expect((await runCli(["context", "list", "-o", "name"], input)).stdout).toBe("production\n");
    expect(readFileSync(at("config/muster/config.yaml"), "utf8")).toMatch(/^# mine\n/);
  });

  test("the stronger file wins, and list --sources says which", async () => {
    write(
      "etc/config.yaml",
      "output: json\ntime: iso\ncontext: far\ncontexts: { far: { address: http://far:1 } }\n",
    );
    write("config/muster/config.yaml", "output: wide\n");
    write("work/.muster.yaml", "time: raw\n");
    const here = { ...input, systemConfig: at("etc/config.yaml") };
    const ran = await runCli(["config", "list", "--sources", "-o", "jsonl"], here);
    expect(JSON.parse(ran.stdout)).toEqual([
      { name: "context", value: "far", source: at("etc/config.yaml") },
      { name: "output", value: "wide", source: at("config/muster/config.yaml") },
      { name: "time", value: "raw", source: at("work/.muster.yaml") },
      { name: "contexts.far.address", value: "http://far:1", source: at("etc/config.yaml") },
    ]);
    const fromEnv = await runCli(["config", "get", "output"], {
      ...here,
      env: { ...here.env, MUSTER_OUTPUT: "name" },
    });
    expect(fromEnv.stdout).toBe("name\n");
    expect((await runCli(["context", "edit", "far", "--address", "x"], here)).exitCode).toBe(2);
  });

  test("set and unset refuse what is not there or not a value", async () => {
    expect((await runCli(["config", "set", "outptu", "x"], input)).stderr).toContain("Did you mean output?");
    expect((await runCli(["config", "set", "output", "x"], input)).exitCode).toBe(2);
    expect((await runCli(["config", "set", "contexts.p.tlsCa", "x"], input)).exitCode).toBe(78);
    expect((await runCli(["config", "set", "output", "wide"], input)).exitCode).toBe(0);
    expect((await runCli(["config", "unset", "output"], input)).stderr).toContain("is gone");
    expect((await runCli(["config", "list"], input)).stderr).toContain("Nothing is set");
  });

  test("a wrong file stops commands, but neither help nor what mends it", async () => {
    write("config/muster/config.yaml", "outptu: x\n");
    for (const argv of [
      ["job", "list"],
      ["config", "validate"],
      ["config", "list"],
    ]) {
      const ran = await runCli(argv, input);
      expect(ran).toMatchObject({
        exitCode: 78,
        stderr: expect.stringContaining("config.yaml:1:1: unknown setting"),
      });
    }
    for (const argv of [["help", "states"], ["config", "path"], ["completion", "bash"], ["--help"]]) {
      expect((await runCli(argv, input)).exitCode).toBe(0);
    }
    expect((await runCli(["doctor", "client", "-o", "json"], input)).stdout).toContain('"client.config"');
  });
});
