import { CommanderError } from "commander";
import { type Cli, MusterCommand, makeCli, type RunState } from "./command.ts";
import { CliError, usageError } from "./errors.ts";
import { exitCodes } from "./exit-codes.ts";
import { addGlobalOptions, makeGlobalOptions } from "./global-options.ts";
import { type Noun, nouns } from "./nouns.ts";
import { interruption, type Surroundings } from "./surroundings.ts";
import { readVersion } from "./version.ts";

/**
 * Runs one command line (without the program's name) and answers with the exit code. Never throws; errors are
 * on stderr when it returns. Touches nothing but the surroundings, so it runs in a test's own process.
 */
export async function runProgram(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const state: RunState = { exitCode: exitCodes.done, context: undefined };
  try {
    if (argv[0] === "__complete") return await printCompletion(argv.slice(1), surroundings, state);
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
    return await reportFailure(error, state, argv, surroundings);
  }
}

// What the scripts of `muster completion` call: `--line <line up to the cursor>`, or `-- <words>`.
async function printCompletion(
  argv: readonly string[],
  surroundings: Surroundings,
  state: RunState,
): Promise<number> {
  const { complete, completionLines } = await import("./completion/complete.ts");
  const { wordsOfLine } = await import("./completion/words.ts");
  const words = argv[0] === "--line" ? wordsOfLine(argv[1] ?? "") : argv.slice(1);
  const program = await makeProgram(words.slice(0, -1), surroundings, state);
  const found = await complete(program, words, surroundings);
  surroundings.stdout.write(`${completionLines(found).join("\n")}\n`);
  return exitCodes.done;
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
  program.version(`muster ${readVersion()}`, "-V, --version", "show the version");
  await addNouns(program, makeCli(program, surroundings, argv, state), argv);
  addGlobalOptions(program);
  return program;
}

/** The whole tree of commands, every noun loaded: for tests that walk it. */
export async function makeWholeProgram(surroundings: Surroundings): Promise<MusterCommand> {
  const program = new MusterCommand("muster");
  const cli = makeCli(program, surroundings, [], { exitCode: exitCodes.done, context: undefined });
  for (const load of new Set(nouns.flatMap(([, below]) => below.map((noun) => noun.load)))) {
    await (await load())(cli, []);
  }
  return program;
}

// Loads the nouns that the command line speaks of; of the others the list of commands needs name and description.
async function addNouns(program: MusterCommand, cli: Cli, argv: readonly string[]): Promise<void> {
  const asked = askedNouns(argv);
  const loads = new Set(asked.map(({ load }) => load));
  for (const [heading, below] of nouns) {
    program.commandsGroup(heading);
    for (const { name, aliases = [], description, load } of below) {
      if (loads.delete(load)) await (await load())(cli, argv);
      const there = program.commands.find((one) => one.name() === name);
      const command = there ?? program.command(name).description(description);
      for (const alias of aliases) if (!command.aliases().includes(alias)) command.alias(alias);
    }
  }
}

function askedNouns(argv: readonly string[]): Noun[] {
  const [first, second] = plainWords(argv);
  const words = first === "help" ? [first, second] : [first];
  return nouns
    .flatMap(([, below]) => below)
    .filter(({ name, aliases = [] }) => words.some((word) => word === name || aliases.includes(word ?? "")));
}

/** The words of a command line that are neither options nor values of the options of all commands. */
export function plainWords(argv: readonly string[]): string[] {
  const withValue = new Set(
    makeGlobalOptions().flatMap(({ required, long, short }) => (required ? [long, short] : [])),
  );
  const own = ownArguments(argv);
  return own.filter((word, at) => !word.startsWith("-") && !withValue.has(own[at - 1] ?? ""));
}

async function reportFailure(
  error: unknown,
  { context }: RunState,
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<number> {
  const { signal, stderr, env } = surroundings;
  if (error instanceof CommanderError && isHelp(error)) {
    return error.code === "commander.help" ? exitCodes.usage : exitCodes.done;
  }
  if (signal.aborted && !(error instanceof CliError)) return interruption(signal).exitCode;
  const { reportError, renderReport, renderReportJson } = await import("./report.ts");
  const { paintFor, paintLevel } = await import("./output/paint.ts");
  const report = reportError(error instanceof CommanderError ? readableUsage(error) : error, context);
  if (await wantsJson(argv, surroundings)) stderr.write(renderReportJson(report));
  else {
    const noColor = argv.includes("--no-color");
    stderr.write(renderReport(report, paintFor(paintLevel({ isTty: stderr.isTTY === true, noColor, env }))));
  }
  if (wantsStack(argv) && error instanceof Error && report.exitCode === exitCodes.unexpected) {
    const { sanitizeLines } = await import("./output/sanitize.ts");
    // It begins with the message, which others may have written.
    stderr.write(`${sanitizeLines(error.stack ?? error.message)}\n`);
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

// As commands choose it: command line, environment, configuration. Any of them may be what is wrong.
async function wantsJson(argv: readonly string[], surroundings: Surroundings): Promise<boolean> {
  const format =
    writtenFormat(argv) ?? (surroundings.env["MUSTER_OUTPUT"] || (await configuredFormat(surroundings)));
  return format === "json" || format === "jsonl";
}

// Looked for by hand; what follows -- is not ours.
function writtenFormat(argv: readonly string[]): string | undefined {
  const own = ownArguments(argv);
  const words = own.flatMap((word, at) => {
    if (word === "--json") return ["json"];
    if (word === "-o" || word === "--output") return own.slice(at + 1, at + 2);
    const [, attached] = /^(?:-o|--output=)(.+)$/.exec(word) ?? [];
    return attached === undefined ? [] : [attached];
  });
  return words.find((word) => /^jsonl?$/.test(word)) ?? words.at(-1);
}

async function configuredFormat(surroundings: Surroundings): Promise<string | undefined> {
  const { loadConfig } = await import("./config/files.ts");
  const { files } = await loadConfig(surroundings).catch(() => ({ files: [] }));
  const format = files.map(({ settings }) => settings.get("output")).find((one) => one !== undefined);
  return typeof format === "string" ? format : undefined;
}

function wantsStack(argv: readonly string[]): boolean {
  return ownArguments(argv).some((word) => word === "--verbose" || word === "-v");
}

function ownArguments(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}
