import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory } from "../run-cli.ts";
import { sampleStatus } from "./sample.ts";

const run = promisify(execFile);
const program = fileURLToPath(new URL("../../../tui/bin/muster.js", import.meta.url));

let peer: ApiPeer;
let socket: string;

beforeEach(async () => {
  peer = await startApiPeer();
  peer.changeStatus(sampleStatus());
  socket = `muster-test-${process.pid}-${crypto.randomUUID().slice(0, 8)}`;
});

afterEach(async () => {
  await tmux("kill-server").catch(() => undefined);
  await peer.close();
});

async function tmux(...words: string[]): Promise<string> {
  const { stdout } = await run("tmux", ["-L", socket, "-f", "/dev/null", ...words]);
  return stdout;
}

const start = (key = peer.key): Promise<void> =>
  startWith(`MUSTER_ADDRESS=${peer.address} MUSTER_API_KEY=${key}`);

async function startWith(env: string): Promise<void> {
  const command = `${env} LANG=C.UTF-8 ${process.execPath} ${program} top; echo "exit code $?"; tmux -L ${socket} wait-for -S left; exec cat`;
  await tmux("new-session", "-d", "-x", "90", "-y", "30", `echo before; ${command}`);
}

// Resolves when the program has ended and its exit code is on the screen.
const whenLeft = (): Promise<unknown> => once(execFile("tmux", ["-L", socket, "wait-for", "left"]), "exit");

const screen = (): Promise<string> => tmux("capture-pane", "-p");
const eventually = { timeout: 15_000, interval: 50 };

describe.skipIf(!hasTmux())("muster top in a terminal", () => {
  test("lives through a restart of the coordinator and gives the terminal back on q", async () => {
    await start();
    await expect.poll(screen, eventually).toContain("gpu-1");
    expect(await screen()).not.toContain("before");
    await peer.close();
    await expect.poll(screen, eventually).toContain(`Reconnecting to ${peer.address}`);
    expect(await screen()).toContain("gpu-1");
    await peer.reopen();
    await expect.poll(screen, eventually).toContain("● live");
    const left = whenLeft();
    await tmux("send-keys", "q");
    await left;
    const after = await screen();
    expect(after).toMatch(/^before\nLeft muster \(http.*\)\.\nexit code 0\n/);
  });

  test("drills down to a job, by polling where streams do not pass", async () => {
    peer.addJob({ jobId: "job_1", spec: { kind: "render.frame", title: "shot \u001b[2J412" } });
    await start();
    await expect.poll(screen, eventually).toContain("gpu-1");
    await tmux("send-keys", "2");
    await expect.poll(screen, eventually).toContain("streams do not pass: polled");
    expect(await screen()).toContain("render.frame shot");
    await tmux("send-keys", "Enter");
    await expect.poll(screen, eventually).toContain("shot ␛[2J412");
    await tmux("send-keys", "q", "q");
    await expect.poll(screen, eventually).toContain("exit code 0");
  });

  test("ends with 130 on Ctrl-C, the terminal given back", async () => {
    await start();
    await expect.poll(screen, eventually).toContain("gpu-1");
    const left = whenLeft();
    await tmux("send-keys", "C-c");
    await left;
    expect(await screen()).toMatch(/^before\nLeft muster .*\nexit code 130\n/);
  });

  test("ends with 143 on SIGTERM, the terminal given back", async () => {
    await start();
    await expect.poll(screen, eventually).toContain("gpu-1");
    const left = whenLeft();
    const shell = (await tmux("display-message", "-p", "#{pane_pid}")).trim();
    execFileSync("kill", ["-TERM", childOf(shell)]);
    await left;
    expect(await screen()).toMatch(/^before\nexit code 143\n/);
  });

  test("ends at once, the terminal given back, when the key is refused", async () => {
    await start("mk_wrong");
    const left = whenLeft();
    await left;
    expect(await screen()).toMatch(
      /^before\nerror: the key is not valid \(UNAUTHENTICATED\)\n(.*\n)*exit code 4\n/,
    );
  });

  test("says that a context refuses the key, and lets another be chosen", async () => {
    const directory = makeDirectory();
    const here = (name: string): string => join(directory.path, name);
    writeFileSync(here("good.key"), peer.key, { mode: 0o600 });
    writeFileSync(here("bad.key"), "mk_wrong", { mode: 0o600 });
    const context = (name: string): string => `{ address: "${peer.address}", keyFile: "${here(name)}" }`;
    writeFileSync(
      here("config.yaml"),
      `contexts:\n  bad: ${context("bad.key")}\n  good: ${context("good.key")}\n`,
    );
    await startWith(`MUSTER_CLIENT_CONFIG=${here("config.yaml")} MUSTER_CONTEXT=bad`);
    await expect
      .poll(screen, eventually)
      .toContain("bad refuses: the key is not valid. :contexts chooses another");
    await tmux("send-keys", ":");
    await tmux("send-keys", "-l", "contexts");
    await expect.poll(screen, eventually).toContain("Contexts");
    await tmux("send-keys", "Enter");
    await expect.poll(screen, eventually).toContain("ADDRESS");
    await expect.poll(screen, eventually).toContain("good");
    await tmux("send-keys", "j", "Enter");
    await expect.poll(screen, eventually).toContain("gpu-1");
    expect(await screen()).toContain("● live");
    const left = whenLeft();
    await tmux("send-keys", "q");
    await left;
    directory.remove();
  });
});

function childOf(pid: string): string {
  return execFileSync("ps", ["--ppid", pid, "-o", "pid="], { encoding: "utf8" }).trim();
}

function hasTmux(): boolean {
  try {
    execFileSync("tmux", ["-V"]);
    return true;
  } catch {
    return false;
  }
}
