import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { defaultAddress } from "../context.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import { wholeOption } from "../input/options.ts";
import { showDuration } from "../output/time.ts";
import { interruption } from "../surroundings.ts";
import {
  type CoordinatorConfig,
  type RunningCoordinator,
  settleConfig,
  startCoordinator,
} from "./coordinator.ts";
import { hideFromJobs, runWorkerDaemon } from "./daemon.ts";
import { asideText, dropLocalKey, keepLocalKey, type LocalKey } from "./local-key.ts";
import { startOwnWorker } from "./own-worker.ts";

interface DevOptions {
  readonly data?: string;
  readonly ephemeral?: boolean;
  readonly port?: number;
  readonly workerPort?: number;
  readonly slots?: number;
  readonly kinds: boolean;
}

/** Registers `muster dev`. */
export function registerDev(cli: Cli): void {
  cli.program
    .command("dev")
    .description("Run a coordinator and a worker in one command, to try things and to develop against.")
    .examples(
      "muster dev",
      "muster dev --ephemeral --port 0 --worker-port 0",
      "muster dev --data ~/muster-dev --slots 8",
    )
    .option("--data <path>", "where everything is kept (.muster/dev)")
    .option("--ephemeral", "keep nothing: a temporary directory, removed at the end")
    .option("--port <port>", "port of the API; 0 takes a free one (7070)", wholeOption(0, 65_535))
    .option(
      "--worker-port <port>",
      "port of the worker links; 0 takes a free one (7071)",
      wholeOption(0, 65_535),
    )
    .option("--slots <number>", "jobs at once (the number of processors)", wholeOption(1, 10_000))
    .option("--no-kinds", "do not run github.sync in a worker of the coordinator's own")
    .notes(
      "Ctrl-C stops both; what is kept in --data is there again at the next start. Listens on this\n" +
        "machine only.",
    )
    .action(cli.action((call, options: DevOptions) => runDev(call, options)));
}

async function runDev(call: Call, options: DevOptions): Promise<number> {
  if (options.ephemeral === true && options.data !== undefined) {
    throw usageError("--ephemeral and --data contradict each other", "Give one of the two.");
  }
  await hideFromJobs(call.surroundings);
  const folder = makeFolder(call, options);
  let kept: LocalKey | undefined;
  try {
    const config = await settleDevConfig(call, folder, options);
    const coordinator = await startDevCoordinator(call, config);
    const ownWorker = startOwnWorker(coordinator, config, call.surroundings);
    try {
      kept = keepLocalKey(coordinator, config, call.surroundings);
      if (kept === undefined) throw lostKey(folder);
      return await runDevWorker(call, { coordinator, folder, options, kept });
    } finally {
      await ownWorker.stop();
      // Never left half way: its database would go on running without a directory.
      await coordinator.stop({ graceMs: stopGraceMs });
    }
  } finally {
    if (options.ephemeral === true) {
      if (kept !== undefined) dropLocalKey(kept);
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

const drainGraceMs = 10_000;
const stopGraceMs = 2_000;

interface DevRun {
  readonly coordinator: RunningCoordinator;
  readonly folder: string;
  readonly options: DevOptions;
  readonly kept: LocalKey;
}

function makeFolder({ surroundings }: Call, options: DevOptions): string {
  try {
    if (options.ephemeral === true) return openTemporary();
    const folder = resolve(surroundings.cwd, options.data ?? ".muster/dev");
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    // What is kept here must not be committed by accident.
    if (options.data === undefined) writeFileSync(join(folder, "..", ".gitignore"), "*\n");
    return folder;
  } catch (cause) {
    throw usageError(
      `--data: cannot make the directory: ${systemReason(cause)}`,
      "Name another one with --data.",
    );
  }
}

// As root Postgres runs as another account, which must get through to its data; that is closed to all others.
function openTemporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "muster-dev-"));
  chmodSync(folder, 0o755);
  return folder;
}

async function settleDevConfig(call: Call, folder: string, options: DevOptions): Promise<CoordinatorConfig> {
  const flags = {
    dataDir: join(folder, "data"),
    apiPort: String(options.port ?? 7070),
    workerPort: String(options.workerPort ?? 7071),
    ...(options.kinds ? {} : { kinds: false }),
    logLevel: call.globals.verbose === true ? "info" : "warn",
    logFormat: "pretty",
  };
  // A database of the environment is not one to try things on.
  const env = Object.fromEntries(
    Object.entries(call.surroundings.env).filter(([name]) => !/^(MUSTER_)?DATABASE_/.test(name)),
  );
  return settleConfig(flags, { env, cwd: call.surroundings.cwd });
}

async function startDevCoordinator(call: Call, config: CoordinatorConfig): Promise<RunningCoordinator> {
  call.output.note("Starting...");
  try {
    return await startCoordinator(config, call.surroundings);
  } catch (error) {
    throw error instanceof CliError && error.reason === "PORT_IN_USE" ? portInUse(error) : error;
  }
}

async function runDevWorker(call: Call, run: DevRun): Promise<number> {
  const { surroundings } = call;
  const slots = run.options.slots ?? availableParallelism();
  const key = await workerKey(call, run);
  // A coordinator that fails takes the worker with it.
  const stopping = new AbortController();
  const failure = run.coordinator.failed.then((error) => {
    stopping.abort(error);
    return error;
  });
  surroundings.signal.addEventListener("abort", () => {
    const rest = `running jobs may end for ${showDuration(drainGraceMs)}`;
    call.output.note(`Stopping: ${rest}; Ctrl-C again gives them back now.`);
  });
  const exitCode = await runWorkerDaemon(
    {
      address: run.coordinator.workerAddress,
      apiAddress: run.coordinator.apiAddress,
      key,
      slots,
      points: Math.max(slots, 100),
      stateDir: join(run.folder, "worker"),
      drainGraceMs,
      draining: AbortSignal.any([surroundings.signal, stopping.signal]),
      forced: AbortSignal.any([surroundings.forced, stopping.signal]),
      isQuiet: true,
      onReady: () => printReady(call, run, slots),
    },
    surroundings,
  );
  if (stopping.signal.aborted) throw await failure;
  if (surroundings.forced.aborted) return interruption(surroundings.forced).exitCode;
  return surroundings.signal.aborted ? exitCodes.done : exitCode;
}

// A worker key is told once, so it is kept beside the data; without it the worker gets another name.
async function workerKey(call: Call, run: DevRun): Promise<string> {
  const path = join(run.folder, "worker.key");
  if (existsSync(path)) return readFileSync(path, "utf8").trim();
  const client = createMusterClient(WorkerAdminService, {
    address: run.coordinator.apiAddress,
    key: run.kept.key,
    httpVersion: "1.1",
  });
  const create = async (name: string): Promise<string> =>
    (await client.createWorker({ name }, call.once())).key;
  const key = await create("dev").catch((error: unknown) => {
    if (ConnectError.from(error).code !== Code.AlreadyExists) throw error;
    return create(`dev-${crypto.randomUUID().slice(0, 4)}`);
  });
  writeFileSync(path, `${key}\n`, { mode: 0o600 });
  return key;
}

function printReady(call: Call, { coordinator, folder, options, kept }: DevRun, slots: number): void {
  const { apiAddress, workerAddress } = coordinator;
  const { paint } = call.output;
  const address = apiAddress === defaultAddress ? "" : ` --address ${apiAddress}`;
  const keyFlag = kept.isFound ? "" : ` --api-key-file ${kept.path}`;
  const flags = `${address}${keyFlag}`;
  const data = options.ephemeral === true ? "temporary, removed at the end" : folder;
  const value = { apiAddress, workerAddress, keyFile: kept.path, dataDirectory: folder, slots };
  call.output.printValue(value, () => [
    paint("bold-green", "Muster is ready."),
    "",
    `  API      ${apiAddress}`,
    `  workers  ${workerAddress}  (one is attached: dev, ${slots} slots)`,
    `  key      ${kept.path}  (${kept.isFound ? "found by your commands on this machine" : "another key is kept for this address"})`,
    `  data     ${data}`,
    "",
    "Try, in another terminal:",
    "",
    `  muster job submit echo --data '{"hello":"world"}' --wait${flags}`,
    `  muster job submit shell.run --watch${flags} -- sh -c 'for i in 1 2 3; do echo "step $i"; sleep 1; done'`,
    `  muster top${flags}`,
    "",
    "Ctrl-C stops everything.",
  ]);
  if (kept.aside !== undefined) call.output.note(asideText(kept.aside));
}

function portInUse(error: CliError): CliError {
  return new CliError(error.message, {
    reason: error.reason,
    exitCode: error.exitCode,
    suggestion: (error.suggestion ?? "").replace("--api-port", "--port"),
    cause: error,
  });
}

function lostKey(folder: string): CliError {
  return new CliError("the admin key of this data directory is lost", {
    reason: "KEY_LOST",
    exitCode: exitCodes.notAllowed,
    suggestion: `Start anew with another --data, or remove ${folder}.`,
  });
}
