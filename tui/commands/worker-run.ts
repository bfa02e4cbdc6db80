import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { IsolationLevel, IsolationOptions, KindIsolation } from "@muster/worker/isolation";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { givenTls } from "../context.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { readText, systemReason } from "../input/files.ts";
import { durationOption, listOption, pairOption, wholeOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Surroundings } from "../surroundings.ts";
import { hideFromJobs, runWorkerDaemon, type WorkerRun } from "./daemon.ts";
import { enrolMachine, isKeyThere } from "./worker-enrol.ts";

const levels = ["none", "uid", "bwrap"] as const satisfies readonly IsolationLevel[];

interface RunOptions {
  readonly address?: string;
  readonly apiAddress?: string;
  readonly keyFile?: string;
  readonly enrolTokenFile?: string;
  readonly name?: string;
  readonly slots?: number;
  readonly points?: number;
  readonly skill?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly jobEnv?: readonly string[];
  readonly isolation?: string;
  readonly kindIsolation?: Readonly<Record<string, string>>;
  readonly network?: readonly string[];
  readonly jobPath?: readonly string[];
  readonly jobUid?: number;
  readonly stateDir?: string;
  readonly grace?: number;
  readonly drainDeadline?: number;
  readonly resultRetention?: number;
  readonly transport?: string;
  readonly links?: string;
  readonly once?: boolean;
  readonly continuous?: boolean;
}

/** Registers `muster worker run`. */
export function registerWorkerRun(worker: MusterCommand, cli: Cli): void {
  worker
    .command("run")
    .description(
      "Run jobs on this machine. Built-in kinds: shell.run, a program with its arguments, and echo.",
    )
    .examples(
      "muster worker create laptop --key-file laptop.key",
      "muster worker run --key-file laptop.key",
      "muster worker run --key-file gpu.key --address muster.example:7071 --slots 2 --skill gpu",
      "muster worker run --key-file laptop.key --once    # one job, or exit 20 if there is none",
      "muster worker run --key-file box.key --enrol-token-file lab.token",
      "muster worker run --key-file laptop.key --links links.yaml",
      "muster worker run --key-file gpu.key --address https://muster.example:7071 --tls-ca ca.pem",
    )
    .option("--once", "run one job and end: 0 succeeded, 9 failed, 5 lease lost, 20 there was none")
    .option("--continuous", "run jobs until stopped (this is the default)")
    .option(
      "--address <host:port,...>",
      "the coordinator's worker listener (127.0.0.1:7071); of several coordinators, the next is tried when a link ends",
    )
    .option("--api-address <url>", "the coordinator's API, where streams do not pass (same host, 7070)")
    .option(
      "--transport <transport>",
      "auto, stream or poll (auto: stream, and polling where streams do not pass)",
    )
    .option(
      "--key-file <path>",
      "file that holds the worker's key (MUSTER_WORKER_KEY_FILE, MUSTER_WORKER_KEY)",
    )
    .option(
      "--enrol-token-file <path>",
      "while the key file is not there: enrol this machine with the token in this file, - is stdin, and write it",
    )
    .option("--name <text>", "name of its state directory (from the key)")
    .option("--slots <number>", "jobs at once (4)", wholeOption(1, 10_000))
    .option("--points <number>", "points at once (as slots)", wholeOption(1, 1_000_000))
    .option("--skill <name>", "a skill of this machine; repeat for more", listOption)
    .option("--label <key=value>", "a label of this machine; repeat for more", pairOption)
    .option(
      "--job-env <name>",
      "a variable of this environment that jobs may see; repeat for more (MUSTER_WORKER_JOB_ENV)",
      listOption,
    )
    .option(
      "--isolation <level>",
      "no job's programs run under less: none, uid or bwrap (MUSTER_WORKER_ISOLATION; none)",
    )
    .option("--kind-isolation <kind=level>", "a stronger level for a kind; repeat for more", pairOption)
    .option(
      "--network <kind>",
      "in a sandbox, this kind has the network; repeat for more (MUSTER_WORKER_NETWORK)",
      listOption,
    )
    .option(
      "--job-path <path>",
      "shown in a sandbox, read-only; repeat for more (MUSTER_WORKER_JOB_PATH)",
      listOption,
    )
    .option(
      "--job-uid <number>",
      "first of the users for jobs, as many as slots (MUSTER_WORKER_JOB_UID; 60600)",
      wholeOption(1, 2_147_483_647),
    )
    .option(
      "--links <path>",
      "linked projects and sessions to publish (YAML or JSON); followed as it changes",
    )
    .option(
      "--state-dir <path>",
      "where results wait until they are safe ($XDG_STATE_HOME/muster/worker/<name>)",
    )
    .option("--grace <duration>", "how long running jobs may take to end at a stop (30s)", durationOption)
    .option(
      "--drain-deadline <duration>",
      "how long the machine is there after a stop, e.g. 120s: what runs 20s before is given back",
      durationOption,
    )
    .option(
      "--result-retention <duration>",
      "keep acknowledged results, to send them again if the database loses them (0s)",
      durationOption,
    )
    .notes(
      "The first Ctrl-C, or SIGTERM, takes no more jobs and lets the running ones end; the second\n" +
        "gives them back unfinished, which costs them no attempt. Jobs see PATH, HOME and the like,\n" +
        "and what --job-env names: no keys.\n\n" +
        isolationNotes +
        linksFormat,
    )
    .action(cli.action((call, options: RunOptions) => runWorker(call, options)));
}

const isolationNotes = `Levels of isolation:
  none   jobs run as the user of this worker, and can read that user's files
  uid    each as a user of its own; needs root
  bwrap  in a sandbox of bubblewrap: an own root, home and processes, no network but by --network;
         it sees the system's programs, --job-path, and the working copy of its project
A level that cannot be had here keeps the worker from starting.

`;

const linksFormat = `The file of --links:
  projects:
    - project: acme/web                  # its name in muster
      root: /home/me/src/web             # jobs of the project start here
      remoteUrl: git@github.com:acme/web.git
  sessions:
    - id: web-main                       # unique in the org; the first worker to publish it owns it
      project: acme/web
      agent: codex
      agentSessionId: 0199-4c2e          # until it is known no job goes there
      primary: true                      # first choice of its project
Also label, role, terminalTarget, state (idle, busy, ended), activeAt, archived; linkedBy, linkedAt.
It is read again when it changes, and on SIGHUP where there is no terminal.`;

async function runWorker(call: Call, options: RunOptions): Promise<number> {
  if (options.once === true && options.continuous === true) {
    throw usageError("--once and --continuous contradict each other", "Give one of the two.");
  }
  const { surroundings } = call;
  if (options.enrolTokenFile !== undefined) await enrolFirst(call, options, options.enrolTokenFile);
  const isolation = isolationOf(options, surroundings.env);
  await hideFromJobs(surroundings);
  const run: WorkerRun = {
    address: (options.address ?? "127.0.0.1:7071").split(",").map(readListener).join(","),
    transport: readTransport(options.transport ?? "auto"),
    key: readWorkerKey(call, options.keyFile),
    // Of the flags and the environment: a context is for commands, not for daemons.
    ...givenTls(call.globals, surroundings),
    skills: options.skill ?? [],
    labels: options.label ?? {},
    envAllow: options.jobEnv ?? listOf(surroundings.env["MUSTER_WORKER_JOB_ENV"]),
    isolation,
    once: options.once === true,
    slots: options.slots ?? 4,
    ...given("apiAddress", options.apiAddress),
    ...given("name", options.name),
    ...given("points", options.points),
    ...given("drainGraceMs", options.grace),
    ...given("drainDeadlineMs", options.drainDeadline),
    ...given("resultRetentionMs", options.resultRetention),
    ...given("links", await readLinks(options.links, surroundings)),
    ...given(
      "stateDir",
      options.stateDir === undefined ? undefined : resolve(surroundings.cwd, options.stateDir),
    ),
    draining: surroundings.signal,
    forced: surroundings.forced,
    isQuiet: call.globals.quiet === true,
    onReady: ({ workerName, transport }) =>
      call.output.note(`Worker ${workerName} is attached (${transport}). Ctrl-C ends it in good order.`),
  };
  return runWorkerDaemon(run, surroundings);
}

// YAML takes its time to load; no other verb of workers needs it.
async function readLinks(path: string | undefined, surroundings: Surroundings): Promise<WorkerRun["links"]> {
  return path === undefined ? undefined : (await import("./worker-links.ts")).linksOfFile(path, surroundings);
}

// The worker's listener does not enrol: the API does.
async function enrolFirst(call: Call, options: RunOptions, tokenFile: string): Promise<void> {
  const { keyFile, apiAddress, address = "127.0.0.1:7071" } = options;
  if (keyFile === undefined) {
    throw usageError("--enrol-token-file needs --key-file", "Name the file that the key is to be in.");
  }
  if (isKeyThere(call, keyFile)) return;
  const { defaultApiAddress, defaultApiPort, defaultWorkerPort, parseAddress, parseAddresses } = await import(
    "@muster/worker/transport/address"
  );
  const api =
    apiAddress === undefined
      ? defaultApiAddress(parseAddresses(address, defaultWorkerPort)[0])
      : parseAddress(apiAddress, defaultApiPort);
  const token = (await readText(tokenFile, "--enrol-token-file", call.surroundings)).trim();
  const { response } = await enrolMachine(call, { address: api.url, tls: {}, token, name: "", keyFile });
  call.output.note(`This machine is enrolled as ${response.worker?.name ?? ""}. Its key is in ${keyFile}.`);
}

function given<Name extends keyof WorkerRun>(
  name: Name,
  value: WorkerRun[Name],
): Partial<Pick<WorkerRun, Name>> {
  const one: Partial<Pick<WorkerRun, Name>> = {};
  if (value !== undefined) one[name] = value;
  return one;
}

function isolationOf(options: RunOptions, env: Surroundings["env"]): IsolationOptions {
  const level = readLevel("--isolation", options.isolation ?? (env["MUSTER_WORKER_ISOLATION"] || "none"));
  const networks = options.network ?? listOf(env["MUSTER_WORKER_NETWORK"]);
  const kinds = new Map<string, KindIsolation>();
  for (const [kind, word] of Object.entries(options.kindIsolation ?? {}))
    kinds.set(kind, { level: readLevel("--kind-isolation", word) });
  for (const kind of networks) kinds.set(kind, { ...kinds.get(kind), network: true });
  const firstUid = options.jobUid ?? readUid(env["MUSTER_WORKER_JOB_UID"]);
  return {
    level,
    kinds: Object.fromEntries(kinds),
    paths: options.jobPath ?? listOf(env["MUSTER_WORKER_JOB_PATH"]),
    ...(firstUid === undefined ? {} : { firstUid }),
  };
}

function readLevel(option: string, word: string): IsolationLevel {
  const found = levels.find((one) => one === word);
  if (found !== undefined) return found;
  const suggestion = didYouMean(word, levels) ?? `Use one of ${levels.join(", ")}.`;
  throw usageError(`${option} has no level ${JSON.stringify(word)}`, suggestion);
}

function readUid(text: string | undefined): number | undefined {
  if (!text) return undefined;
  if (/^[1-9]\d{0,9}$/.test(text) && Number(text) < 2 ** 31) return Number(text);
  throw usageError(
    `MUSTER_WORKER_JOB_UID is not the id of a user: ${JSON.stringify(text)}`,
    "Write it like 60600.",
  );
}

function listOf(text: string | undefined): readonly string[] {
  return (text ?? "").split(",").flatMap((one) => one.trim() || []);
}

function readTransport(word: string): "auto" | "stream" | "poll" {
  const transports = ["auto", "stream", "poll"] as const;
  const found = transports.find((one) => one === word);
  if (found !== undefined) return found;
  throw usageError(
    `--transport has no value ${JSON.stringify(word)}`,
    didYouMean(word, transports) ?? `Use one of ${transports.join(", ")}.`,
  );
}

function readListener(given: string): string {
  const text = given.trim();
  const url = /^https?:\/\//.test(text) ? URL.parse(text) : URL.parse(`http://${text}`);
  if (url === null || url.pathname !== "/" || url.username !== "") {
    throw usageError(
      `--address is not a host and port: ${JSON.stringify(text)}`,
      "Write it like 127.0.0.1:7071.",
    );
  }
  return text.replace(/\/+$/, "");
}

function readWorkerKey({ surroundings }: Call, keyFile: string | undefined): string {
  const { env } = surroundings;
  const path = keyFile ?? (env["MUSTER_WORKER_KEY"] ? undefined : env["MUSTER_WORKER_KEY_FILE"]);
  if (!path) {
    const key = env["MUSTER_WORKER_KEY"]?.trim();
    if (key) return key;
    throw new CliError("this worker has no key", {
      reason: "KEY_MISSING",
      exitCode: exitCodes.notAllowed,
      suggestion:
        "Make one with `muster worker create NAME --key-file FILE`, and give it with --key-file FILE.",
    });
  }
  const source = keyFile === undefined ? "MUSTER_WORKER_KEY_FILE" : "--key-file";
  try {
    return readFileSync(resolve(surroundings.cwd, path), "utf8").trim();
  } catch (cause) {
    throw usageError(
      `${source}: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}
