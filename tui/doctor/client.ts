import { existsSync } from "node:fs";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { KeyService, type WhoAmIResponse } from "@muster/client/v1/key_service";
import { StatusService } from "@muster/client/v1/status_service";
import type { Call } from "../call.ts";
import { configPaths, credentialsPath, loadConfig } from "../config/files.ts";
import { type Context, isLoopback } from "../context.ts";
import { showDuration } from "../output/time.ts";
import { readVersion } from "../version.ts";
import type { CheckResult } from "./check.ts";
import { type Checks, type Finding, fine, makeChecks, wanting } from "./checks.ts";
import { checkDns, checkHttp2, checkTcp, checkTls, hostAndPort } from "./network.ts";

/** Checks the way from this program to the coordinator, step by step; what needs a failed step is skipped. */
export async function checkClient(call: Call): Promise<readonly CheckResult[]> {
  const checks = makeChecks(call);
  const isConfigured = await checks.add("client.config", () => checkConfig(call));
  const isFound = isConfigured && (await checks.add("client.context", () => checkContext(call)));
  await checks.add("client.proxy", () => checkProxy(call));
  if (!isFound) {
    for (const id of networkIds) checks.skip(id, "without a context there is nothing to reach");
    return checks.results;
  }
  const context = call.context();
  const isReached = await reach(checks, call, context);
  if (!isReached) {
    for (const id of callIds) checks.skip(id, "the coordinator is not reached");
    return checks.results;
  }
  await checks.add("client.http2", () => checkHttp2(context.address, context.tls, call.signal));
  const isKnown = await checkAuth(checks, call);
  if (!isKnown) checks.skip("client.clock", "needs a key");
  else await checks.add("client.clock", () => checkClock(call));
  if (!isKnown) checks.skip("client.stream", "needs a key");
  else await checks.add("client.stream", () => checkStream(call));
  return checks.results;
}

const callIds = ["client.http2", "client.auth", "client.version", "client.clock", "client.stream"];
const networkIds = ["client.dns", "client.tcp", "client.tls", ...callIds];

async function checkConfig({ surroundings }: Call): Promise<Finding> {
  const config = await loadConfig(surroundings);
  config.keys();
  const there = [...configPaths(surroundings).map(({ path }) => path), credentialsPath(surroundings)].filter(
    (path) => existsSync(path),
  );
  const [warning] = config.warnings;
  if (warning !== undefined) return wanting("warn", warning, "Take it over, or work elsewhere.");
  return fine(there.length === 0 ? "no files: flags and environment alone" : there.join(", "));
}

function checkContext(call: Call): Finding {
  const { address, addressSource, key, keySource, warnings } = call.context();
  const detail = `${address} (${addressSource}), ${key === undefined ? "no key" : `key from ${keySource}`}`;
  if (key === undefined) {
    return wanting("warn", detail, "Log in with: muster login, or give a key with --api-key-file.");
  }
  const [warning] = warnings;
  if (warning !== undefined) return wanting("warn", `${detail}; ${warning}`, "Do what the warning says.");
  if (address.startsWith("http://") && !isLoopback(address)) {
    return wanting(
      "warn",
      `${detail}; the key crosses the network in clear text`,
      "Use an https:// address: give the coordinator a certificate (--tls-cert), or put a proxy before it.",
    );
  }
  return fine(detail);
}

// Node takes no proxy from the environment unless it is told to.
function checkProxy(call: Call): Finding {
  const { env } = call.surroundings;
  const set = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"].filter(
    (name) => env[name],
  );
  if (set.length === 0) return fine("no proxy in the environment");
  return wanting(
    "warn",
    `${set.join(", ")} is set, and this program connects directly`,
    "Let the coordinator's address be reached without the proxy, or through one that forwards a port.",
  );
}

async function reach(checks: Checks, call: Call, { address, tls }: Context): Promise<boolean> {
  const { host, port } = hostAndPort(address);
  const isTls = address.startsWith("https:");
  if (!(await checks.add("client.dns", () => checkDns(host)))) {
    checks.skip("client.tcp", "the host has no address");
    checks.skip("client.tls", "the host has no address");
    return false;
  }
  if (!(await checks.add("client.tcp", () => checkTcp(host, port, call.signal)))) {
    checks.skip("client.tls", "nothing listens");
    return false;
  }
  if (!isTls) {
    checks.skip("client.tls", "the address is http://");
    return true;
  }
  return checks.add("client.tls", () => checkTls(host, port, tls, call.signal, call.surroundings.now()));
}

async function checkAuth(checks: Checks, call: Call): Promise<boolean> {
  let serverVersion: string | undefined;
  const isKnown = await checks.add("client.auth", async () => {
    const who = await call.client(KeyService).whoAmI({}, call.once());
    serverVersion = who.serverVersion;
    return keyFinding(who, call.surroundings.now());
  });
  if (serverVersion === undefined) checks.skip("client.version", "needs a key");
  else await checks.add("client.version", () => versionFinding(readVersion(), serverVersion ?? ""));
  return isKnown;
}

function keyFinding({ actor, org, orgId, key, scopes }: WhoAmIResponse, nowMs: number): Finding {
  const detail = `${actor} of ${org || orgId}, may ${(key?.scopes ?? scopes).join(", ") || "nothing"}`;
  if (key?.expireTime === undefined) return fine(detail);
  const leftMs = timestampMs(key.expireTime) - nowMs;
  if (leftMs > 7 * 86_400_000) return fine(detail);
  return wanting(
    "warn",
    `${detail}; the key ends in ${showDuration(leftMs)}`,
    "Make another: muster key create",
  );
}

function versionFinding(own: string, server: string): Finding {
  if (server === own) return fine(`both are ${own}`);
  return wanting(
    "warn",
    `this is ${own}, the coordinator is ${server || "of an unknown version"}`,
    "Use the same version on both sides; neighbouring minor versions understand each other.",
  );
}

async function checkClock(call: Call): Promise<Finding> {
  const { now } = call.surroundings;
  const before = now();
  const { status } = await call.client(StatusService).getStatus({}, call.once());
  const after = now();
  if (status?.time === undefined) return wanting("warn", "the coordinator did not tell its time", "");
  const skewMs = timestampMs(status.time) - (before + after) / 2;
  const detail = `the clock here is ${showDuration(Math.abs(skewMs))} ${skewMs > 0 ? "behind" : "ahead of"} the database's (±${showDuration((after - before) / 2)})`;
  if (Math.abs(skewMs) - (after - before) / 2 < 5_000) return fine(detail);
  return wanting(
    "warn",
    detail,
    "Run a time service (NTP) here and there: times that you give are read by this clock.",
  );
}

// A proxy that buffers passes unary calls, and holds back what streams.
async function checkStream(call: Call): Promise<Finding> {
  const patience = AbortSignal.timeout(streamPatienceMs);
  const signal = AbortSignal.any([call.signal, patience]);
  try {
    for await (const _ of call.client(StatusService).watchStatus({}, { signal })) {
      return fine("the first message of a stream came at once");
    }
    return wanting("fail", "a stream ended without a message", bufferFix);
  } catch (error) {
    if (!patience.aborted) throw error;
    return wanting("fail", `no message of a stream came within ${streamPatienceMs / 1000}s`, bufferFix);
  }
}

const streamPatienceMs = 5_000;

const bufferFix =
  "Something in between buffers: switch that off for this address (nginx: proxy_buffering off; proxy_request_buffering off).";
