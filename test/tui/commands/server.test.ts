import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeCoordinatorLog } from "../../../tui/commands/coordinator-log.ts";
import { exitCodes } from "../../../tui/exit-codes.ts";
import { makeDirectory, type RunInput, type Running, runCli, startCli } from "../run-cli.ts";

describe("server check-config", () => {
  test("prints the settled configuration without secrets", async () => {
    const ran = await runCli(["server", "check-config", "--api-port", "7170", "--json"], {
      env: { HOME: "/home/x", MUSTER_SECRET: "s".repeat(40), MUSTER_WORKER_KEY: "k" },
    });
    expect(ran.exitCode).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({ apiPort: 7170, workerPort: 7071, secret: "(set)" });
    const before = await runCli(["server", "--api-port", "7170", "check-config", "--json"], {
      env: { HOME: "/x" },
    });
    expect(JSON.parse(before.stdout)).toMatchObject({ apiPort: 7170 });
  });

  test("tells every problem of flags, environment and file at once, with exit code 78", async () => {
    const directory = makeDirectory();
    writeFileSync(join(directory.path, "muster.yaml"), "heartbeet: 5s\n");
    const ran = await runCli(["server", "check-config", "--config", "muster.yaml", "--api-port", "70000"], {
      env: { HOME: "/home/x", MUSTER_STAL: "1s" },
      cwd: directory.path,
    });
    directory.remove();
    expect(ran.exitCode).toBe(78);
    expect(ran.stdout).toBe("");
    expect(ran.stderr).toContain("error: the configuration has 3 problems (CONFIG_INVALID)");
    expect(ran.stderr).toContain("why: flag --api-port: is not a whole number from 0 to 65535");
    expect(ran.stderr).toContain("Did you mean MUSTER_STALE?");
    expect(ran.stderr).toContain(
      "why: file heartbeet: is not a setting (muster.yaml:1). Did you mean heartbeat?",
    );
  });

  test("does not start with a configuration that is not valid", async () => {
    const ran = await runCli(["server", "--api-host", "0.0.0.0"], { env: { HOME: "/home/x" } });
    expect(ran.exitCode).toBe(78);
    expect(ran.stderr).toContain("listens beyond loopback without TLS");
  });
});

describe("server promote", () => {
  test("refuses without a database of its own", async () => {
    const ran = await runCli(["server", "promote"], { env: { HOME: "/home/x" } });
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("an embedded one has no replicas");
    expect(ran.stderr).toContain("DATABASE_URL");
  });

  test("says which database does not answer, without its password", async () => {
    const ran = await runCli(["server", "promote"], {
      env: { HOME: "/home/x", DATABASE_URL: "postgres://u:pass@127.0.0.1:1/muster" },
    });
    expect(ran.exitCode).toBe(exitCodes.unreachable);
    expect(ran.stderr).toContain("the database at 127.0.0.1:1 refuses");
    expect(ran.stderr).not.toContain("pass");
  });
});

describe("a running server", () => {
  let directory: ReturnType<typeof makeDirectory>;
  let input: RunInput;
  let running: Running;
  let ready: { apiAddress: string; workerAddress: string; adminKeyFile: string };

  const start = ["server", "--api-port", "0", "--worker-port", "0", "--log-level", "warn"];

  beforeAll(async () => {
    directory = makeDirectory();
    input = {
      env: { HOME: directory.path, XDG_STATE_HOME: directory.path, PATH: process.env["PATH"] ?? "" },
    };
    running = startCli([...start, "-o", "jsonl"], input);
    await Promise.race([running.printed("\n"), running.exit]);
    ready = JSON.parse(running.stdout());
    await running.noted("for your user alone");
  });

  afterAll(async () => {
    running.interrupt();
    await running.exit;
    directory.remove();
  });

  test("says where it listens, shows its first key once, and keeps it for the user's commands", () => {
    expect(ready.apiAddress).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const key = /shown this once: (\S+)/.exec(running.stderr())?.[1];
    expect(readFileSync(ready.adminKeyFile, "utf8").trim()).toBe(key);
    const name = `127.0.0.1_${URL.parse(ready.apiAddress)?.port}.key`;
    const kept = join(directory.path, "muster", "keys", name);
    expect(readFileSync(kept, "utf8").trim()).toBe(key);
    expect(statSync(kept).mode & 0o777).toBe(0o600);
  });

  test("keeps another one off its port and its data directory, each told with a way out", async () => {
    const port = URL.parse(ready.apiAddress)?.port ?? "";
    const other = ["--data-dir", join(directory.path, "other")];
    const onPort = await runCli(
      ["server", "--api-port", port, "--worker-port", "0", "--log-level", "silent", ...other],
      input,
    );
    expect(onPort.exitCode).toBe(5);
    expect(onPort.stderr).toContain("(PORT_IN_USE)");
    expect(onPort.stderr).toContain("--api-port");
    const onData = await runCli([...start, "--json"], input);
    expect(onData.exitCode).toBe(5);
    expect(JSON.parse(onData.stderr)).toMatchObject({ error: { reason: "DATA_DIRECTORY_IN_USE" } });
  });

  test("runs the built-in kinds in a worker of its own, and without them when told so", async () => {
    const list = async (address: string) =>
      (await runCli(["worker", "list", "--address", address], input)).stdout;
    await expect
      .poll(() => list(ready.apiAddress), { timeout: 10_000 })
      .toMatch(/^coordinator\tIDLE\t0\/2\t/m);
    const data = ["--data-dir", join(directory.path, "without")];
    const without = startCli([...start, "--no-kinds", "-o", "jsonl", ...data], input);
    await without.noted("for your user alone");
    const { apiAddress } = JSON.parse(without.stdout());
    expect(await list(apiAddress)).not.toContain("coordinator");
    without.interrupt();
    expect(await without.exit).toBe(0);
  });

  test("stops with its own worker, in good order", async () => {
    running.interrupt();
    expect(await running.exit).toBe(0);
    expect(running.stderr()).not.toContain("not attached");
  });
});

test("a database that does not answer is told without its password, with exit code 6", async () => {
  const ran = await runCli(["server", "--api-port", "0", "--worker-port", "0"], {
    env: {
      HOME: "/home/x",
      DATABASE_URL: "postgres://me:sesame@127.0.0.1:1/x",
      MUSTER_SECRET: "s".repeat(40),
    },
  });
  expect(ran.exitCode).toBe(6);
  expect(ran.stderr).toContain("the database at 127.0.0.1:1 refuses");
  expect(ran.stderr).not.toContain("sesame");
});

describe("the log of a coordinator", () => {
  function logged(logLevel: string, logFormat: string): string[] {
    const lines: string[] = [];
    const stderr = { write: (line: string) => lines.push(line) };
    const log = makeCoordinatorLog({ logLevel, logFormat }, { stderr: asStream(stderr), now: () => 0 });
    log.debug({}, "debug");
    log.info({ job: "j\u001b[1m", n: 5n }, "info");
    log.error({ err: new Error("broken", { cause: new Error("why") }) }, "error");
    return lines;
  }

  test("is a JSON object a line, from the level upwards", () => {
    const [info = "", error = ""] = logged("info", "json");
    expect(JSON.parse(info)).toEqual({
      level: "info",
      time: "1970-01-01T00:00:00.000Z",
      msg: "info",
      job: "j\u001b[1m",
      n: "5",
    });
    expect(JSON.parse(error)).toMatchObject({ err: "Error: broken; because Error: why" });
    expect(info).not.toContain("\u001b");
    expect(logged("silent", "json")).toEqual([]);
  });

  test("for people is a safe line", () => {
    const [info = ""] = logged("info", "pretty");
    expect(info).toMatch(/^\d\d:\d\d:\d\d info {2}info job=j␛\[1m n=5\n$/);
    expect(logged("debug", "pretty")).toHaveLength(3);
  });
});

function asStream(stream: unknown): NodeJS.WritableStream {
  // Safe: the log calls nothing but write.
  return stream as NodeJS.WritableStream;
}
