import { CommanderError } from "commander";
import { addGlobalOptions, MusterCommand, makeCli, type RunState } from "./command.ts";
import { registerArtifact } from "./commands/artifact.ts";
import { registerAttention } from "./commands/attention.ts";
import { registerAudit } from "./commands/audit.ts";
import { registerBatch } from "./commands/batch.ts";
import { registerDev } from "./commands/dev.ts";
import { registerDlq } from "./commands/dlq.ts";
import { registerFind } from "./commands/find.ts";
import { registerHelp } from "./commands/help.ts";
import { registerJob } from "./commands/job.ts";
import { registerKey } from "./commands/key.ts";
import { registerProject } from "./commands/project.ts";
import { registerProto } from "./commands/proto.ts";
import { registerQueues } from "./commands/queue.ts";
import { registerServer } from "./commands/server.ts";
import { registerSession } from "./commands/session.ts";
import { registerStatus } from "./commands/status.ts";
import { registerSystem } from "./commands/system.ts";
import { registerTop } from "./commands/top.ts";
import { registerVersion } from "./commands/version.ts";
import { registerWhoAmI } from "./commands/whoami.ts";
import { registerWork } from "./commands/work.ts";
import { registerWorker } from "./commands/worker.ts";
import { CliError, renderReport, renderReportJson, reportError, usageError } from "./errors.ts";
import { exitCodes } from "./exit-codes.ts";
import { paintFor, paintLevel } from "./output/paint.ts";
import { interruption, type Surroundings } from "./surroundings.ts";

/**
 * Runs one command line (without the program's name) and answers with the exit code. Never throws; errors are
 * on stderr when it returns. Touches nothing but the surroundings, so it runs in a test's own process.
 */
export async function runProgram(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const state: RunState = { exitCode: exitCodes.done, context: undefined };
  try {
    const program = await makeProgram(argv, surroundings, state);
    if (argv.length === 0) {
      surroundings.stdout.write(`${program.helpInformation()}\n${firstSteps}\n`);
      return exitCodes.done;
    }
    await program.parseAsync([...argv], { from: "user" });
    return surroundings.signal.aborted && state.exitCode === exitCodes.interrupted
      ? interruption(surroundings.signal).exitCode
      : state.exitCode;
  } catch (error) {
    return reportFailure(error, state, argv, surroundings);
  }
}

const firstSteps = "Nothing is running yet? Start with: muster dev";

async function makeProgram(
  argv: readonly string[],
  surroundings: Surroundings,
  state: RunState,
): Promise<MusterCommand> {
  const { stdout, stderr } = surroundings;
  const program = new MusterCommand("muster")
    .description("Muster: a control plane for jobs that run elsewhere.")
    .usage("<command> [options]")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: () => undefined,
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .examples(
      "muster dev                                    # a coordinator and a worker, to try things",
      "muster job submit shell.run --wait -- date    # submit a job and wait for its result",
      "muster top                                    # watch it all",
    );
  const cli = makeCli(program, surroundings, argv, state);
  program.commandsGroup("Run:");
  registerDev(cli);
  await registerServer(cli, argv);
  program.commandsGroup("Work:");
  registerJob(cli);
  registerBatch(cli);
  registerDlq(cli);
  registerWorker(cli);
  registerWork(cli);
  registerQueues(cli);
  registerProject(cli);
  registerSession(cli);
  registerArtifact(cli);
  program.commandsGroup("Look:");
  registerStatus(cli);
  registerAttention(cli);
  registerFind(cli);
  registerAudit(cli);
  registerSystem(cli);
  registerTop(cli);
  program.commandsGroup("More:");
  registerWhoAmI(cli);
  registerKey(cli);
  registerProto(cli);
  registerVersion(cli);
  registerHelp(cli);
  addGlobalOptions(program);
  return program;
}

function reportFailure(
  error: unknown,
  { context }: RunState,
  argv: readonly string[],
  surroundings: Surroundings,
): number {
  const { signal, stderr, env } = surroundings;
  if (error instanceof CommanderError && isHelp(error)) {
    return error.code === "commander.help" ? exitCodes.usage : exitCodes.done;
  }
  if (signal.aborted && !(error instanceof CliError)) return interruption(signal).exitCode;
  const report = reportError(error instanceof CommanderError ? readableUsage(error) : error, context);
  if (wantsJson(argv)) stderr.write(renderReportJson(report));
  else {
    const noColor = argv.includes("--no-color");
    stderr.write(renderReport(report, paintFor(paintLevel({ isTty: stderr.isTTY === true, noColor, env }))));
  }
  if (wantsStack(argv) && error instanceof Error && report.exitCode === exitCodes.unexpected) {
    stderr.write(`${error.stack ?? error.message}\n`);
  }
  return report.exitCode;
}

function isHelp({ code }: CommanderError): boolean {
  return ["commander.help", "commander.helpDisplayed", "commander.version"].includes(code);
}

// Commander writes `error: unknown option '--jsn'\n(Did you mean --json?)`.
function readableUsage(error: CommanderError): CliError {
  const [, message = error.message, meant] = /^(?:error: )?(.*?)(?:\n\((.*)\))?$/s.exec(error.message) ?? [];
  const see = "See what there is with --help.";
  return usageError(message.replaceAll("\n", " "), meant === undefined ? see : `${meant} ${see}`);
}

// The command line may be what is wrong, so these are looked for by hand; what follows -- is not ours.
function wantsJson(argv: readonly string[]): boolean {
  const own = ownArguments(argv);
  return own.some(
    (word, at) =>
      word === "--json" ||
      /^(-o|--output=)jsonl?$/.test(word) ||
      (/^(-o|--output)$/.test(word) && /^jsonl?$/.test(own[at + 1] ?? "")),
  );
}

function wantsStack(argv: readonly string[]): boolean {
  return ownArguments(argv).some((word) => word === "--verbose" || word === "-v");
}

function ownArguments(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}
