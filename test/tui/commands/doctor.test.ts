import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { WhoAmIResponseSchema } from "@muster/client/v1/key_service";
import { CheckLevel, CheckSchema } from "@muster/client/v1/system_service";
import { WorkerSchema, WorkerState } from "@muster/client/v1/worker";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  peer.changeStatus({ org: "default", time: timestampFromMs(Date.now()) });
  directory = makeDirectory();
  input = {
    env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key, XDG_STATE_HOME: directory.path },
    cwd: directory.path,
  };
});

afterEach(async () => {
  await peer.close();
  directory.remove();
});

interface Check {
  readonly id: string;
  readonly level: string;
  readonly detail: string;
  readonly fix: string;
}

async function doctor(part: string, ...flags: string[]) {
  const { stdout, exitCode } = await runCli(["doctor", part, "--json", ...flags], input);
  const { checks }: { checks: Check[] } = JSON.parse(stdout);
  return { exitCode, checks, levels: Object.fromEntries(checks.map((one) => [one.id, one.level])) };
}

const fixOf = (checks: readonly Check[], id: string): string =>
  checks.find((one) => one.id === id)?.fix ?? "";

describe("doctor client", () => {
  test("goes the way to the coordinator, step by step", async () => {
    const { exitCode, levels } = await doctor("client");
    expect(exitCode).toBe(0);
    expect(Object.entries(levels)).toEqual(
      Object.entries({
        "client.config": "ok",
        "client.context": "ok",
        "client.proxy": "ok",
        "client.dns": "ok",
        "client.tcp": "ok",
        "client.tls": "skip",
        // The peer of the tests speaks HTTP/1.1 alone.
        "client.http2": "warn",
        "client.auth": "ok",
        "client.version": "ok",
        "client.clock": "ok",
        "client.stream": "ok",
      }),
    );
  });

  test("says what to do where nothing listens, and skips what needs it", async () => {
    input = {
      ...input,
      env: { MUSTER_ADDRESS: "http://127.0.0.1:1", MUSTER_API_KEY: "k", HTTPS_PROXY: "http://p" },
    };
    const { exitCode, levels, checks } = await doctor("client");
    expect(exitCode).toBe(11);
    expect(levels).toMatchObject({ "client.tcp": "fail", "client.proxy": "warn", "client.auth": "skip" });
    expect(fixOf(checks, "client.tcp")).toContain("Start the coordinator");
  });

  test("finds a host without an address, a wrong key, an old coordinator and a wrong clock", async () => {
    const nowhere = { ...input, env: { ...input.env, MUSTER_ADDRESS: "http://nowhere.invalid:1" } };
    expect((await runCli(["doctor", "client", "-o", "name"], nowhere)).stdout).toBe("client.dns\n");
    peer.system.who = create(WhoAmIResponseSchema, {
      org: "default",
      actor: "key:x",
      serverVersion: "9.9.9",
    });
    peer.changeStatus({ org: "default", time: timestampFromMs(Date.now() - 60_000) });
    const skewed = await doctor("client");
    expect(skewed.levels).toMatchObject({ "client.version": "warn", "client.clock": "warn" });
    input = { ...input, env: { ...input.env, MUSTER_API_KEY: "mk_api_wrong" } };
    const refused = await doctor("client");
    expect(refused.exitCode).toBe(11);
    expect(refused.levels).toMatchObject({ "client.auth": "fail", "client.stream": "skip" });
  });

  test("tells a configuration that is not valid, with its place", async () => {
    writeFileSync(join(directory.path, ".muster.yaml"), "outptu: x\n");
    const { exitCode, checks, levels } = await doctor("client");
    expect(exitCode).toBe(11);
    expect(levels["client.config"]).toBe("fail");
    expect(checks[0]?.detail).toContain(".muster.yaml:1:1: unknown setting");
  });

  test("finds a proxy that holds back what streams", async () => {
    const proxy = await bufferingProxy(peer.address);
    input = { ...input, env: { ...input.env, MUSTER_ADDRESS: proxy.address } };
    const { levels, checks } = await doctor("client");
    expect(levels).toMatchObject({ "client.auth": "ok", "client.stream": "fail" });
    expect(fixOf(checks, "client.stream")).toContain("proxy_buffering off");
    proxy.server.closeAllConnections();
    proxy.server.close();
  });
});

describe("doctor server", () => {
  test("prints what the coordinator checked, made safe", async () => {
    const fail = {
      id: "database.clock",
      level: CheckLevel.FAIL,
      detail: "it is \u001b[2J late",
      fix: "Mend it.",
    };
    peer.system.checks = [
      create(CheckSchema, { id: "database.reachable", level: CheckLevel.OK, detail: "18.4" }),
      create(CheckSchema, fail),
    ];
    const ran = await runCli(["doctor", "server"], { ...input, terminal: { columns: 100, rows: 30 } });
    expect(ran.exitCode).toBe(11);
    expect(ran.stdout).toContain("it is ␛[2J late");
    expect(ran.stdout).toContain("Mend it.");
    expect(ran.stderr).toContain("3 checks: 1 failed, 0 to look at.");
    peer.failNext(new ConnectError("no", Code.PermissionDenied), "CheckServer");
    expect((await doctor("server")).levels).toEqual({ "server.answers": "fail" });
  });
});

describe("doctor worker", () => {
  test("checks key, place and registration without touching the worker", async () => {
    writeFileSync(join(directory.path, "w.key"), `${peer.key}\n`);
    chmodSync(join(directory.path, "w.key"), 0o644);
    expect((await doctor("worker", "--key-file", "w.key", "--listener", "127.0.0.1:1")).levels).toEqual({
      "worker.node": "ok",
      "worker.key": "fail",
      "worker.outbox": "ok",
      "worker.disk": "ok",
      "worker.isolation": "ok",
      "worker.dns": "ok",
      "worker.tcp": "fail",
      "worker.stream": "skip",
      "worker.state": "skip",
      "worker.kinds": "skip",
    });
  });

  test("tells whose key it is, and how its worker stands", async () => {
    await peer.close();
    peer = await startApiPeer();
    Object.assign(peer, { key: "mk_worker_1_a_b" });
    const key = { keyId: "k", type: "worker", workerName: "gpu-1" };
    peer.system.who = create(WhoAmIResponseSchema, { org: "default", actor: "worker:gpu-1", key });
    peer.workers.set(
      "wrk_1",
      create(WorkerSchema, {
        workerId: "wrk_1",
        name: "gpu-1",
        state: WorkerState.DISABLED,
        kinds: ["echo"],
      }),
    );
    input = {
      ...input,
      env: {
        ...input.env,
        MUSTER_ADDRESS: peer.address,
        MUSTER_API_KEY: peer.key,
        MUSTER_WORKER_KEY: peer.key,
      },
    };
    mkdirSync(join(directory.path, "closed"), { mode: 0o500 });
    const { exitCode, levels, checks } = await doctor("worker", "--listener", new URL(peer.address).host);
    expect(exitCode).toBe(11);
    expect(levels).toMatchObject({
      "worker.key": "ok",
      "worker.registration": "ok",
      "worker.state": "fail",
      "worker.tcp": "ok",
    });
    expect(fixOf(checks, "worker.state")).toContain("muster worker enable gpu-1");
    expect(peer.calls).toEqual(["WhoAmI", "GetWorker"]);
  });
});

test("doctor knows its parts", async () => {
  expect(await runCli(["doctor", "clinet"], input)).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("Did you mean client?"),
  });
});

// Hands a response on when it is whole, as some proxies do.
async function bufferingProxy(
  target: string,
): Promise<{ readonly address: string; readonly server: Server }> {
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(Buffer.from(part));
    const headers = Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
      ["host", "connection", "content-length", "transfer-encoding"].includes(name) ||
      typeof value !== "string"
        ? []
        : [[name, value]],
    );
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    try {
      const answer = await fetch(`${target}${request.url}`, {
        method: request.method ?? "POST",
        headers,
        body: Buffer.concat(parts),
        signal: gone.signal,
      });
      const body = Buffer.from(await answer.arrayBuffer());
      const type = answer.headers.get("content-type");
      response.writeHead(answer.status, type === null ? {} : { "content-type": type }).end(body);
    } catch {
      response.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { address: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`, server };
}
