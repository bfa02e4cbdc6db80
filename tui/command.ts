import { Command, Help } from "commander";
import type { Call } from "./call.ts";
import type { Context } from "./context.ts";
import { givenGlobals } from "./global-options.ts";
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
    needs?: ActionNeeds,
  ) => (...args: Args) => Promise<void>;
}

/** What a command does without. */
export interface ActionNeeds {
  /** The configuration is not read before: what is wrong with it must not stop this command. */
  readonly noConfig?: boolean;
  /** What is wrong with the configuration leaves it out: this command says so itself. */
  readonly toleratesConfig?: boolean;
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
      (body, needs = {}) =>
      async (...args) => {
        const command = args.findLast((value) => value instanceof Command);
        const given = command === undefined ? {} : givenGlobals(command);
        // What a call needs takes its time to load, and help needs none of it.
        const { startCall } = await import("./start-call.ts");
        const call = await startCall({ surroundings, given, argv, needs }, (context) => {
          state.context = context;
        });
        if (command !== undefined && namesThings(command)) {
          const { resolveIds } = await import("./input/ids.ts");
          args.splice(0, args.length, ...asGiven<typeof args>(await resolveIds(call, command, args)));
        }
        state.exitCode = await body(call, ...args);
      },
  };
}

const namingValue = /[<[](job|batch|worker|session)(\.\.\.)?[>\]]/;

// Whether an argument or an option that was given is the id of something.
function namesThings(command: Command): boolean {
  return (
    command.registeredArguments.some((argument) => namingValue.test(`<${argument.name()}>`)) ||
    command.options.some(
      (option) =>
        namingValue.test(option.flags) && command.getOptionValue(option.attributeName()) !== undefined,
    )
  );
}

// The same arguments with other texts in the place of texts: what commander hands over has no type of its own.
function asGiven<Args extends unknown[]>(args: unknown[]): Args {
  return args as Args;
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
      ...(this.#notes === "" ? [] : [this.boxWrap(this.#notes.trimEnd(), 100)]),
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
