import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { interruption } from "../surroundings.ts";
import {
  databaseError,
  settleConfig,
  startCoordinator,
  stopCoordinator,
  untilStopped,
} from "./coordinator.ts";
import { asideText, keepLocalKey } from "./local-key.ts";
import { startOwnWorker } from "./own-worker.ts";

type Flags = Readonly<Record<string, string | boolean | undefined>>;

/**
 * Registers `muster server`. Its flags come from the coordinator's own table, which is only loaded when the
 * command line speaks of the server.
 */
export async function registerServer(cli: Cli, argv: readonly string[]): Promise<void> {
  const server = cli.program
    .command("server")
    .description("Run a coordinator: on an embedded Postgres, or on the one of DATABASE_URL.")
    .examples(
      "muster server",
      "muster server --data-dir /var/lib/muster --log-level warn",
      "DATABASE_URL=postgres://... muster server --config muster.yaml",
      "muster server check-config --config muster.yaml",
    )
    .notes(
      "Each flag has a variable MUSTER_<FLAG> and a name in the file of --config; flags are the\n" +
        "strongest, then the environment, then the file. Secrets are taken from files (--...-file)\n" +
        "or the environment only. The files of TLS are read again when they change, and on SIGHUP where\n" +
        "there is no terminal.",
    );
  const check = server
    .command("check-config")
    .description("Check the configuration and print it, without starting. Exits with 78 if it is not valid.")
    .examples("muster server check-config", "muster server check-config --config muster.yaml --json");
  const promote = server
    .command("promote")
    .description(
      "Say that the database may have lost commits: workers and clients send again what they kept.",
    )
    .examples("DATABASE_URL=postgres://... muster server promote")
    .notes(
      "For after a failover to a replica that was behind, and before coordinators use it where that can\n" +
        "be arranged. Raises the epoch of the cluster, for the owner of the database. Coordinators see it\n" +
        "within 5 s and have their workers attach anew; workers that run with --result-retention send\n" +
        "results again, watches start anew, and clients submit again by idempotency key.",
    );
  if (argv.includes("server")) {
    for (const command of [server, check, promote]) await addConfigFlags(command);
  }
  server.action(cli.action((call, flags: Flags) => runServer(call, configFlagsOf(server, flags))));
  check.action(
    cli.action((call, flags: Flags) =>
      checkConfig(call, { ...configFlagsOf(server, server.opts()), ...configFlagsOf(check, flags) }),
    ),
  );
  promote.action(
    cli.action((call, flags: Flags) =>
      promoteDatabase(call, { ...configFlagsOf(server, server.opts()), ...configFlagsOf(promote, flags) }),
    ),
  );
}

async function addConfigFlags(command: MusterCommand): Promise<void> {
  const { configFlags } = await import("@muster/server/config");
  for (const { flag, description, default: fallback } of configFlags()) {
    // A long list of choices would push every description to the right.
    const [name = flag, choices = ""] = flag.split(/ <|>/);
    const isLong = choices.includes("|") && flag.length > 34;
    const among = isLong ? ` One of ${choices.replaceAll("|", ", ")}.` : "";
    command.option(isLong ? `${name} <choice>` : flag, `${description}${among} (${fallback})`);
  }
}

// Only what the coordinator's table added and the user gave: the options of all commands are not settings, and what
// a `--no-` flag stands for when it is absent is for the environment and the file to say.
function configFlagsOf(command: MusterCommand, options: Flags): Flags {
  const own = command.options.filter(({ helpGroupHeading }) => helpGroupHeading === undefined);
  const given = own.map((option) => option.attributeName());
  const names = new Set(given.filter((name) => command.getOptionValueSource(name) !== "default"));
  return Object.fromEntries(Object.entries(options).filter(([name]) => names.has(name)));
}

async function checkConfig(call: Call, flags: Flags): Promise<number> {
  const config = await settleConfig(flags, call.surroundings);
  const { redactedConfig } = await import("@muster/server/config");
  const shown = redactedConfig(config);
  call.output.printValue(shown, () =>
    Object.entries(shown).map(([name, value]) => `${name}: ${JSON.stringify(value)}`),
  );
  call.output.note("The configuration is valid.");
  return exitCodes.done;
}

async function promoteDatabase(call: Call, flags: Flags): Promise<number> {
  const config = await settleConfig(flags, call.surroundings);
  const { databaseUrl } = config;
  if (databaseUrl === undefined) {
    throw usageError(
      "there is no database to promote: an embedded one has no replicas",
      "Give the database, as its owner, in DATABASE_URL or a file of --database-url-file.",
    );
  }
  const { promoteCluster } = await import("@muster/server/store/promote");
  const epoch = await promoteCluster(databaseUrl).catch((error: unknown) => {
    throw databaseError(error, config);
  });
  call.output.printValue({ epoch }, () => [`The epoch of the cluster is now ${epoch}.`]);
  return exitCodes.done;
}

async function runServer(call: Call, flags: Flags): Promise<number> {
  const { output, surroundings } = call;
  const config = await settleConfig(flags, surroundings);
  const coordinator = await startCoordinator(config, surroundings);
  const { apiAddress, workerAddress, bootstrapKey, adminKeyFile } = coordinator;
  const kept = keepLocalKey(coordinator, config, surroundings);
  output.printValue({ apiAddress, workerAddress, adminKeyFile: adminKeyFile ?? kept?.path ?? null }, () => [
    `muster server is ready: API ${apiAddress}, workers ${workerAddress}`,
  ]);
  if (bootstrapKey !== null) {
    const file = adminKeyFile ?? kept?.path;
    output.note(
      `Admin key, shown this once: ${bootstrapKey}${file === undefined ? "" : `\nIt is kept in ${file}, for your user alone.`}`,
    );
  }
  if (kept?.aside !== undefined) output.note(asideText(kept.aside));
  if (kept?.isFound === false) {
    output.note(
      `Another key is kept for this address; give your commands this one with --api-key-file ${kept.path}`,
    );
  }
  surroundings.onReload?.(() => coordinator.reload());
  const ownWorker = startOwnWorker(coordinator, config, surroundings);
  const failure = await untilStopped(coordinator, call.signal);
  if (failure === undefined) output.note("Stopping; Ctrl-C again ends it at once.");
  await stopCoordinator({ stop: () => ownWorker.stop().then(() => coordinator.stop()) }, surroundings.forced);
  if (failure !== undefined) throw failure;
  return surroundings.forced.aborted ? interruption(surroundings.forced).exitCode : exitCodes.done;
}
