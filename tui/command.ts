import { Command, Help, Option } from "commander";
import { type Call, type GlobalOptions, prepareCall } from "./call.ts";
import type { Context } from "./context.ts";
import { usageError } from "./errors.ts";
import { durationOption } from "./input/options.ts";
import type { Surroundings } from "./surroundings.ts";

/** A command whose help starts with what it does and how it is used, and ends with the options of all commands. */
export class MusterCommand extends Command {
  readonly #examples: string[] = [];
  #notes = "";

  override createCommand(name?: string): MusterCommand {
    return new MusterCommand(name).helpCommand(false);
  }

  /** Adds command lines that a reader may copy; they stand above everything else in the help. */
  examples(...lines: string[]): this {
    this.#examples.push(...lines);
    return this;
  }

  /** Sets text for the end of the help. */
  notes(text: string): this {
    this.#notes = text;
    return this;
  }

  override createHelp(): Help {
    return Object.assign(new MusterHelp(this.#examples, this.#notes), this.configureHelp());
  }
}

/** Registers commands; the same for every noun. */
export interface Cli {
  readonly program: MusterCommand;
  readonly surroundings: Surroundings;
  /** Makes the action of a command from its body, which answers with the exit code. */
  readonly action: <Args extends unknown[]>(
    body: (call: Call, ...args: Args) => Promise<number>,
  ) => (...args: Args) => Promise<void>;
}

/** What is known of a run at its end. */
export interface RunState {
  exitCode: number;
  /** The coordinator that was called; undefined when none was. */
  context: Context | undefined;
}

/** Makes what commands are registered with. */
export function makeCli(
  program: MusterCommand,
  surroundings: Surroundings,
  argv: readonly string[],
  state: RunState,
): Cli {
  return {
    program,
    surroundings,
    action:
      (body) =>
      async (...args) => {
        const command = args.findLast((value) => value instanceof Command);
        const globals = command === undefined ? {} : globalOptions(command);
        const call = prepareCall(surroundings, globals, argv, (context) => {
          state.context = context;
        });
        state.exitCode = await body(call, ...args);
      },
  };
}

/** Gives a command and all below it the options that every command takes; its own win. */
export function addGlobalOptions(command: Command): void {
  for (const option of makeGlobalOptions()) {
    const isTaken = command.options.some(
      ({ long, short }) => long === option.long || (short && short === option.short),
    );
    if (!isTaken) command.addOption(option.helpGroup("Options of all commands:"));
  }
  for (const inner of command.commands) addGlobalOptions(inner);
}

// The options of all commands as a command got them, at whatever level they were given.
function globalOptions(command: Command): GlobalOptions {
  const levels: GlobalOptions[] = [];
  for (let level: Command | null = command; level !== null; level = level.parent) {
    levels.unshift(givenOptions(level));
  }
  return Object.assign({}, ...levels);
}

/** Whether every command has the option of this name. */
export function isGlobalOption(name: string): boolean {
  return makeGlobalOptions().some((option) => option.attributeName() === name);
}

// A default (--no-color has one) must not hide what a level above was given.
function givenOptions(command: Command): GlobalOptions {
  const options = command.opts<Record<string, unknown>>();
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => command.getOptionValueSource(name) !== "default"),
  );
}

function makeGlobalOptions(): Option[] {
  return [
    new Option("-o, --output <format>", "how to print the answer: text, json, jsonl, name"),
    new Option("--json", "the same as -o json: the proto3 JSON of the answer"),
    new Option("-q, --quiet", "no messages, only data and errors"),
    new Option("--timeout <duration>", "how long a call or a wait may take (calls: 30s)").argParser(
      durationOption,
    ),
    new Option("--address <url>", "the coordinator (MUSTER_ADDRESS; http://127.0.0.1:7070)"),
    new Option("--api-key-file <path>", "file that holds the key (MUSTER_API_KEY_FILE, MUSTER_API_KEY)"),
    new Option("--no-color", "no colours (NO_COLOR)"),
    new Option("-y, --yes", "yes to the question before a dangerous act").hideHelp(),
    new Option("--confirm <name|count>", "the name or count that a severe act asks for").hideHelp(),
    new Option("--no-input", "ask nothing; what would have to be asked is an error").hideHelp(),
    new Option("--ascii", "no characters beyond ASCII of ours").hideHelp(),
    new Option("-v, --verbose", "show where an unexpected error came from").hideHelp(),
    new Option("--api-key <key>").argParser(refuseKey).hideHelp(),
  ];
}

function refuseKey(): never {
  throw usageError(
    "--api-key is refused: everybody on this machine can read a command line",
    "Put the key into a file and use --api-key-file, or set MUSTER_API_KEY.",
  );
}

// Order: what it does, examples, usage, its commands, its options; the options of all commands come last, and only
// where a command can take them.
class MusterHelp extends Help {
  readonly #examples: readonly string[];
  readonly #notes: string;

  constructor(examples: readonly string[], notes: string) {
    super();
    this.#examples = examples;
    this.#notes = notes;
  }

  override formatHelp(command: Command, help: Help): string {
    const width = Math.min(help.helpWidth ?? 80, 100);
    Object.assign(help, { helpWidth: width });
    const isGroup = command.commands.length > 0;
    const plain = super.formatHelp(command, help).trimEnd().split("\n\n");
    const [usage = "", ...sections] = plain;
    const ofCommand = sections.filter((section) => !/^(Options|Options of all commands):/.test(section));
    const options = sections.filter((section) => /^Options:/.test(section));
    const global = sections.filter((section) => /^Options of all commands:/.test(section));
    return [
      help.boxWrap(command.description(), width),
      ...(this.#examples.length === 0
        ? []
        : [["Examples:", ...this.#examples.map((line) => `  ${line}`)].join("\n")]),
      usage,
      ...ofCommand,
      ...options,
      ...(this.#notes === "" ? [] : [this.#notes.trimEnd()]),
      ...(isGroup && command.parent !== null ? [] : global),
    ]
      .join("\n\n")
      .concat("\n");
  }

  // It stands at the top already.
  override commandDescription(): string {
    return "";
  }

  override subcommandTerm(command: Command): string {
    const args = command.registeredArguments.map((argument) => {
      const name = argument.variadic ? `${argument.name()}...` : argument.name();
      return argument.required ? `<${name}>` : `[${name}]`;
    });
    return [command.name(), ...args].join(" ");
  }
}
