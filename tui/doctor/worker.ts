import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { type Worker, WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { type Call, prepareCall } from "../call.ts";
import { systemReason } from "../input/files.ts";
import { workerLooks } from "../output/states.ts";
import type { CheckResult } from "./check.ts";
import { type Checks, type Finding, fine, makeChecks, wanting } from "./checks.ts";
import { checkDns, checkHttp2, checkTcp, hostAndPort } from "./network.ts";

/** What is known of the worker that is checked. */
export interface WorkerQuestion {
  /** `--key-file`; the environment's otherwise. */
  readonly keyFile: string | undefined;
  /** Host and port of the coordinator's worker listener. */
  readonly listener: string;
  readonly stateDir: string | undefined;
  /** Let a job run on it. */
  readonly isDeep: boolean;
}

/** Checks what a worker on this machine needs. Reads only, unless a job is to run. */
export async function checkWorker(call: Call, question: WorkerQuestion): Promise<readonly CheckResult[]> {
  const checks = makeChecks(call);
  await checks.add("worker.node", checkNode);
  let key = "";
  await checks.add("worker.key", () => {
    const found = readKeyFile(call, question.keyFile);
    key = found.key;
    return found.finding;
  });
  await checks.add("worker.outbox", () => checkOutbox(call, question.stateDir, key));
  await checks.add("worker.disk", () => checkDisk(call, question.stateDir, key));
  await checks.add("worker.isolation", () => checkIsolation(call));
  await checkListener(checks, call, question.listener);
  const name = key === "" ? undefined : await checkRegistration(checks, call, key);
  if (name === undefined) {
    for (const id of ["worker.state", "worker.kinds"]) checks.skip(id, "needs a key that is registered");
  } else await checkState(checks, call, name, question.isDeep);
  return checks.results;
}

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 12)) return fine(`Node ${process.versions.node}`);
  return wanting("fail", `Node ${process.versions.node}`, "Install Node 22.22.2 or newer.");
}

function readKeyFile(
  { surroundings }: Call,
  keyFile: string | undefined,
): { readonly key: string; readonly finding: Finding } {
  const { env, cwd } = surroundings;
  const path = keyFile ?? env["MUSTER_WORKER_KEY_FILE"];
  const inEnv = env["MUSTER_WORKER_KEY"]?.trim();
  if (keyFile === undefined && inEnv) return { key: inEnv, finding: fine("MUSTER_WORKER_KEY") };
  if (!path) {
    const fix = "Make one: muster worker create NAME --key-file FILE; then name it with --key-file FILE.";
    return { key: "", finding: wanting("fail", "this worker has no key", fix) };
  }
  try {
    const full = resolve(cwd, path);
    const key = readFileSync(full, "utf8").trim();
    const isOpen = process.platform !== "win32" && (statSync(full).mode & 0o077) !== 0;
    const finding = isOpen
      ? wanting("warn", `${path} can be read by others on this machine`, `Run: chmod 600 ${path}`)
      : fine(path);
    if (key.startsWith("mk_worker_")) return { key, finding };
    const fix = "Give the file that muster worker create --key-file wrote.";
    return { key: "", finding: wanting("fail", `${path} holds no worker's key`, fix) };
  } catch (error) {
    const fix = "Check the path, and who may read it.";
    return { key: "", finding: wanting("fail", `cannot read ${path}: ${systemReason(error)}`, fix) };
  }
}

async function stateDirectoryOf(call: Call, stateDir: string | undefined, key: string): Promise<string> {
  const { env, home, cwd } = call.surroundings;
  if (stateDir !== undefined) return resolve(cwd, stateDir);
  const { keyIdentity, stateDirectory } = await import("@muster/worker/state-directory");
  return stateDirectory({ HOME: home, ...env }, keyIdentity(key));
}

async function checkOutbox(call: Call, stateDir: string | undefined, key: string): Promise<Finding> {
  const path = await stateDirectoryOf(call, stateDir, key);
  const there = nearestThere(path);
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
    return fine(there === path ? path : `${path} will be made`);
  } catch (error) {
    const fix = "Let this user write there, or name another place with --state-dir.";
    return wanting("fail", `cannot write ${there}: ${systemReason(error)}`, fix);
  }
}

async function checkDisk(call: Call, stateDir: string | undefined, key: string): Promise<Finding> {
  const { bavail, bsize, blocks } = statfsSync(nearestThere(await stateDirectoryOf(call, stateDir, key)));
  const freeGib = (bavail * bsize) / 2 ** 30;
  const detail = `${freeGib.toFixed(1)} GiB free of ${((blocks * bsize) / 2 ** 30).toFixed(1)}`;
  const fix = "Make room: a worker that cannot write its results down must not run jobs.";
  if (freeGib < 0.1) return wanting("fail", detail, fix);
  return freeGib < 1 ? wanting("warn", detail, fix) : fine(detail);
}

function nearestThere(path: string): string {
  let there = path;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  return there;
}

async function checkListener(checks: Checks, call: Call, listener: string): Promise<void> {
  const address = /^https?:\/\//.test(listener) ? listener : `http://${listener}`;
  const { host, port } = hostAndPort(address);
  const isThere =
    (await checks.add("worker.dns", () => checkDns(host))) &&
    (await checks.add("worker.tcp", () => checkTcp(host, port, call.signal)));
  if (isThere) await checks.add("worker.stream", () => checkHttp2(address, {}, call.signal));
  else checks.skip("worker.stream", "the listener is not reached");
}

// The key says whose it is; the worker itself is not touched.
// Tried in the very way in which a worker tries it at its start.
async function checkIsolation({ surroundings }: Call): Promise<Finding> {
  const { isolationLevels, openIsolation } = await import("@muster/worker/isolation");
  const found: string[] = [];
  const missing: string[] = [];
  for (const level of isolationLevels) {
    try {
      const setup = { level, slots: 1, kindNames: ["shell.run"], writableRoots: () => [] };
      (await openIsolation(setup)).close();
      found.push(level);
    } catch (error) {
      missing.push(error instanceof Error ? error.message : String(error));
    }
  }
  const wanted = surroundings.env["MUSTER_WORKER_ISOLATION"] || "none";
  const can = `can run jobs under ${found.join(", ")}; the least is ${wanted}`;
  if (!found.some((level) => level === wanted)) return wanting("fail", can, missing.join(" "));
  return missing.length === 0 ? fine(can) : fine(`${can}. ${missing.join(" ")}`);
}

async function checkRegistration(checks: Checks, call: Call, key: string): Promise<string | undefined> {
  let name: string | undefined;
  await checks.add("worker.registration", async () => {
    const { surroundings, globals, argv } = call;
    const { address } = call.context();
    const env = { ...surroundings.env, MUSTER_API_KEY: key };
    const { tlsCa, tlsCert, tlsKey } = globals;
    const own = prepareCall({ ...surroundings, env }, { address, tlsCa, tlsCert, tlsKey }, argv, () => {});
    const who = await own.client(KeyService).whoAmI({}, call.once());
    name = who.key?.workerName || undefined;
    return name === undefined
      ? wanting(
          "fail",
          `${who.actor} is no worker`,
          "Give the file that muster worker create --key-file wrote.",
        )
      : fine(`${name} of ${who.org || who.orgId}`);
  });
  return name;
}

async function checkState(checks: Checks, call: Call, name: string, isDeep: boolean): Promise<void> {
  let worker: Worker | undefined;
  const isRead = await checks.add("worker.state", async () => {
    if (call.context().key === undefined)
      return { level: "skip", detail: "needs an API key beside the worker's" };
    ({ worker } = await call.client(WorkerAdminService).getWorker({ name }, call.once()));
    return stateFinding(worker);
  });
  if (!isRead || worker === undefined) {
    checks.skip("worker.kinds", "needs the worker to be there");
    return;
  }
  const { kinds } = worker;
  await checks.add("worker.kinds", () =>
    kinds.length === 0
      ? wanting(
          "warn",
          "it has not told the kinds that it runs",
          "Start it: muster worker run --key-file FILE",
        )
      : fine(kinds.join(", ")),
  );
  if (isDeep) await checks.add("worker.job", () => runEcho(call, name));
}

function stateFinding(worker: Worker | undefined): Finding {
  const state = worker?.state ?? WorkerState.UNSPECIFIED;
  const { word } = workerLooks[state];
  switch (state) {
    case WorkerState.IDLE:
    case WorkerState.BUSY:
      return fine(word);
    case WorkerState.DISABLED:
      return wanting("fail", word, `Allow it again: muster worker enable ${worker?.name}`);
    case WorkerState.DRAINING:
    case WorkerState.QUARANTINED:
      return wanting("warn", word, `Give it work again: muster worker resume ${worker?.name}`);
    case WorkerState.PENDING:
      return wanting("warn", word, `Let an operator approve it: muster worker approve ${worker?.name}`);
    default:
      return wanting("warn", word, "Start it: muster worker run --key-file FILE");
  }
}

async function runEcho(call: Call, name: string): Promise<Finding> {
  const jobs = call.client(JobService);
  const { jobId } = await jobs.submitJob(
    {
      job: {
        kind: "echo",
        title: "muster doctor",
        queue: "doctor",
        target: { target: { case: "worker", value: name } },
        payload: { content: { case: "data", value: new TextEncoder().encode('{"doctor":true}') } },
      },
    },
    call.once(),
  );
  const { job } = await jobs.waitJob({ jobId, timeout: { seconds: 20n, nanos: 0 } }, { signal: call.signal });
  if (job?.state === JobState.SUCCEEDED) return fine(`${jobId} ran`);
  const fix = `See why: muster job explain ${jobId}; take it back: muster job cancel ${jobId}`;
  return wanting("fail", `${jobId} is ${JobState[job?.state ?? 0]} after 20s`, fix);
}
