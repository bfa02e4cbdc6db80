import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeDirectory, type Ran, type RunInput, type Running, runCli, startCli } from "../run-cli.ts";

interface Ready {
  readonly apiAddress: string;
  readonly workerAddress: string;
  readonly keyFile: string;
  readonly dataDirectory: string;
}

async function startDev(
  input: RunInput,
  words: readonly string[] = [],
): Promise<{ running: Running; ready: Ready }> {
  const running = startCli(
    ["dev", "--port", "0", "--worker-port", "0", "--slots", "2", "-o", "jsonl", ...words],
    input,
  );
  const exitCode = await Promise.race([running.printed("\n"), running.exit]);
  if (exitCode !== undefined) throw new Error(`muster dev ended with ${exitCode}: ${running.stderr()}`);
  return { running, ready: JSON.parse(running.stdout()) };
}

describe("muster dev", () => {
  let directory: ReturnType<typeof makeDirectory>;
  let input: RunInput;
  let running: Running;
  let ready: Ready;

  const muster = (...argv: string[]): Promise<Ran> =>
    runCli([...argv.slice(0, 2), "--address", ready.apiAddress, ...argv.slice(2)], input);

  beforeAll(async () => {
    directory = makeDirectory();
    const env = {
      HOME: directory.path,
      XDG_STATE_HOME: join(directory.path, "state"),
      PATH: process.env["PATH"] ?? "",
    };
    input = { env: { ...env, DATABASE_URL: "postgres://nobody@127.0.0.1:1/x" }, cwd: directory.path };
    ({ running, ready } = await startDev(input));
  });

  afterAll(async () => {
    running.interrupt();
    await running.exit;
    directory.remove();
  });

  test("keeps everything below the working directory, and its key for this user's commands", () => {
    expect(ready.dataDirectory).toBe(join(directory.path, ".muster", "dev"));
    const name = `127.0.0.1_${URL.parse(ready.apiAddress)?.port}.key`;
    expect(ready.keyFile).toBe(join(directory.path, "state", "muster", "keys", name));
    expect(statSync(ready.keyFile).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(directory.path, ".muster", ".gitignore"), "utf8")).toBe("*\n");
  });

  test("runs a program and gives its result", async () => {
    const ran = await muster(
      "job",
      "submit",
      "shell.run",
      "--wait",
      "--",
      "sh",
      "-c",
      "echo hello; echo oops >&2",
    );
    expect(ran.stderr).toMatch(/^Submitted job_\w+\.\n$/);
    expect(ran.exitCode).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      exitCode: 0,
      stdoutTail: "hello\n",
      stderrTail: "oops\n",
    });
    const [, jobId = ""] = /(job_\w+)/.exec(ran.stderr) ?? [];
    const logs = await muster("job", "logs", jobId);
    expect(logs.stdout.split("\n").sort()).toEqual(["", "hello", "oops"]);
    expect((await muster("job", "get", jobId)).stdout).toContain("state\tSUCCEEDED");
    expect((await muster("job", "attempts", jobId)).stdout).toMatch(/\n1\t1\tSUCCEEDED \(final\)\tdev\t/);
  });

  test("gives back what was sent to echo", async () => {
    const ran = await muster("job", "submit", "echo", "--data", '{"hello":"world"}', "--wait", "-q");
    expect(ran).toMatchObject({ exitCode: 0, stderr: "", stdout: '{"hello":"world"}\n' });
  });

  test("exits with 9 when the job failed, and says why", async () => {
    const ran = await muster(
      "job",
      "submit",
      "shell.run",
      "--wait",
      "--max-attempts",
      "1",
      "--",
      "sh",
      "-c",
      "exit 3",
    );
    expect(ran.exitCode).toBe(9);
    expect(ran.stderr).toContain("ended DEAD (JOB_DEAD)\n  why: EXIT_NONZERO: sh exited with 3");
    const dead = await muster("dlq", "list", "-o", "name");
    expect(dead.stdout).toMatch(/^job_\w+\n$/);
    expect((await muster("dlq", "discard", dead.stdout.trim())).exitCode).toBe(0);
  });

  test("shows a running job live, cancels it, and exits with 9", async () => {
    const argv = [
      "job",
      "submit",
      "shell.run",
      "--address",
      ready.apiAddress,
      "--watch",
      "--",
      "sh",
      "-c",
      "echo up; exec sleep 60",
    ];
    const watching = startCli(argv, input);
    await watching.printed("out  up");
    const [, jobId = ""] = /Submitted (job_\w+)/.exec(watching.stderr()) ?? [];
    const cancelled = await muster("job", "cancel", jobId, "--reason", "enough");
    expect(cancelled.exitCode).toBe(0);
    expect(await watching.exit).toBe(9);
    expect(watching.stdout()).toMatch(/RUNNING attempt 1 on dev/);
    expect(watching.stdout()).toMatch(/CANCELLED attempt 1 on dev: enough/);
  });

  test("submits a file and waits for all of it", async () => {
    const stdin = `jobs:\n${"  - { kind: echo, payload: 1, priority: high }\n".repeat(20)}`;
    const ran = await runCli(["job", "submit", "-f", "-", "--wait", "--address", ready.apiAddress], {
      ...input,
      stdin,
    });
    expect(ran.stderr).toMatch(/^Batch bat_\w+: 20 jobs\.\n$/);
    expect(ran.stdout).toContain("succeeded\t20\n");
    expect(ran.exitCode).toBe(0);
  });

  test("tells a refusal of the server with the line of the file", async () => {
    const stdin = '{"kind":"echo"}\n{"kind":"not a kind"}\n';
    const ran = await runCli(["job", "submit", "-f", "-", "--address", ready.apiAddress], {
      ...input,
      stdin,
    });
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("why: stdin:2: kind: ");
  });

  test("takes another worker, for one job or none", async () => {
    const created = await muster("worker", "create", "extra", "--key-file", "extra.key");
    expect(created.exitCode).toBe(0);
    const argv = [
      "worker",
      "run",
      "--once",
      "--key-file",
      "extra.key",
      "--address",
      ready.workerAddress,
      "--skill",
      "gpu",
    ];
    const nothing = await runCli(argv, input);
    expect(nothing.exitCode).toBe(20);
    await muster("job", "submit", "echo", "--skill", "gpu", "--data", "1");
    expect((await runCli(argv, input)).exitCode).toBe(0);
    // The coordinator learns of the end of a link when it has closed.
    const list = async (): Promise<string> => (await muster("worker", "list")).stdout;
    await expect.poll(list, { timeout: 15_000 }).toMatch(/^extra\tOFFLINE\t/m);
    expect(await list()).toMatch(/^dev\t(IDLE|BUSY)\t/m);
  });

  test("runs github.sync in a worker of the coordinator's own", async () => {
    await muster("project", "create", "acme/web", "--max-open-prs", "5");
    const synced = await muster("project", "sync", "acme/web", "--wait");
    expect(synced.exitCode).toBe(0);
    expect(JSON.parse(synced.stdout)).toMatchObject({ repositories: 0, unreadable: [] });
    expect((await muster("worker", "list")).stdout).toMatch(/^coordinator\tIDLE\t/m);
  });

  test("shows status and a snapshot of top", async () => {
    const status = await runCli(["status", "--address", ready.apiAddress], input);
    expect(status.stdout).toMatch(/^workers\t2 online/m);
    const top = await runCli(["top", "--address", ready.apiAddress], input);
    expect(top.exitCode).toBe(0);
    expect(top.stdout).toContain("dev\t");
  });

  test("refuses a key that is not of this coordinator, and an unknown job", async () => {
    const env = { ...input.env, MUSTER_API_KEY: "mk_api_nothing" };
    const refused = await runCli(["status", "--address", ready.apiAddress], { ...input, env });
    expect(refused.exitCode).toBe(4);
    expect(refused.stderr).toContain("fix: ");
    const unknown = await muster("job", "get", "job_01jd9y3f4k8qkx2m0000000000");
    expect(unknown.exitCode).toBe(3);
  });

  test("tells a port in use by its own flag", async () => {
    const port = URL.parse(ready.apiAddress)?.port ?? "";
    const ran = await runCli(["dev", "--ephemeral", "--port", port, "--worker-port", "0"], input);
    expect(ran.exitCode).toBe(5);
    expect(ran.stderr).toContain("(PORT_IN_USE)");
    expect(ran.stderr).toContain("--port");
    expect(ran.stderr).not.toContain("--api-port");
    // The key of the one that runs is still there.
    expect(existsSync(ready.keyFile)).toBe(true);
  }, 60_000);

  test("has everything again at the next start", async () => {
    running.interrupt();
    expect(await running.exit).toBe(0);
    ({ running, ready } = await startDev(input));
    const list = await muster("job", "list", "--kind", "shell.run", "-o", "name");
    expect(list.stdout.trim().split("\n").length).toBeGreaterThan(1);
    expect((await muster("job", "submit", "echo", "--data", "2", "--wait", "-q")).stdout).toBe("2\n");
  });
});

test("muster dev --ephemeral tells what to try, and leaves nothing behind, also when the user insists", async () => {
  const directory = makeDirectory();
  const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith("muster-dev-"));
  const before = left();
  const env = {
    HOME: directory.path,
    XDG_STATE_HOME: join(directory.path, "state"),
    PATH: process.env["PATH"] ?? "",
  };
  const input = { env, cwd: directory.path };
  const running = startCli(["dev", "--ephemeral", "--port", "0", "--worker-port", "0"], input);
  await Promise.race([running.printed("Ctrl-C stops everything."), running.exit]);
  const [, address = ""] = /API {6}(\S+)/.exec(running.stdout()) ?? [];
  const [, keyFile = ""] = /key {6}(\S+)/.exec(running.stdout()) ?? [];
  expect(running.stdout().match(/^ {2}muster .*/gm)).toEqual([
    `  muster job submit echo --data '{"hello":"world"}' --wait --address ${address}`,
    expect.stringContaining(`  muster job submit shell.run --watch --address ${address} -- sh -c `),
    `  muster top --address ${address}`,
  ]);
  expect(existsSync(keyFile)).toBe(true);
  const watching = startCli(
    ["job", "submit", "shell.run", "--watch", "--address", address, "--", "sleep", "60"],
    input,
  );
  await watching.printed("RUNNING");
  running.interrupt();
  await running.noted("Stopping: running jobs may end for 10s; Ctrl-C again gives them back now.");
  running.interrupt();
  expect(await running.exit).toBe(130);
  watching.interrupt();
  expect(await watching.exit).toBe(130);
  expect(existsSync(keyFile)).toBe(false);
  expect(left()).toEqual(before);
  directory.remove();
}, 60_000);
