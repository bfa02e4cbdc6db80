import { type Command, Option } from "commander";
import type { GlobalOptions } from "./call.ts";
import { usageError } from "./errors.ts";
import { durationOption } from "./input/options.ts";

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

/** The options of all commands as a command got them, at whatever level they were given. */
export function givenGlobals(command: Command): GlobalOptions {
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

/** The options of all commands; the rarer ones are told by `muster help options` alone. */
export function makeGlobalOptions(): Option[] {
  const rare = (flags: string, description: string): Option => new Option(flags, description).hideHelp();
  return [
    new Option("-o, --output <format>", "text, wide, json, jsonl, yaml, name or none"),
    new Option("--json", "the same as -o json: the proto3 JSON of the answer"),
    new Option("--fields <names>", "only these fields, like jobId,spec.kind"),
    new Option("-q, --quiet", "no messages, only data and errors"),
    new Option("--timeout <duration>", "how long a call or a wait may take (calls: 30s)").argParser(
      durationOption,
    ),
    new Option("-c, --context <name>", "the coordinator and key of this context (MUSTER_CONTEXT)"),
    new Option("--address <url>", "the coordinator (MUSTER_ADDRESS; http://127.0.0.1:7070)"),
    new Option("--api-key-file <path>", "file that holds the key (MUSTER_API_KEY_FILE, MUSTER_API_KEY)"),
    new Option("--org <name>", "the org that calls are for, with a platform key (MUSTER_ORG)"),
    new Option("--no-color", "no colours (NO_COLOR)"),
    rare("--color <when>", "colours: auto, always or never"),
    rare("--no-headers", "tables without their titles"),
    rare("--time <style>", "points in time: relative, iso or raw (seconds since 1970)"),
    rare("-y, --yes", "yes to the question before a dangerous act"),
    rare("--confirm <name|count>", "the name or count that a severe act asks for"),
    rare("--no-input", "ask nothing; what would have to be asked is an error"),
    rare("--read-only", "refuse every call that changes something (MUSTER_READ_ONLY)"),
    rare("--request-id <id>", "name of what is asked for: asked again, it is not done twice"),
    rare("--tls-ca <path>", "authority (PEM) that signed the certificate (MUSTER_CLIENT_TLS_CA)"),
    rare("--tls-cert <path>", "certificate (PEM) to show (MUSTER_CLIENT_TLS_CERT)"),
    rare("--tls-key <path>", "key (PEM) of that certificate (MUSTER_CLIENT_TLS_KEY)"),
    rare("--ascii", "no characters beyond ASCII of ours"),
    rare("-v, --verbose", "show where an unexpected error came from"),
    new Option("--api-key <key>").argParser(refuseKey).hideHelp(),
  ];
}

function refuseKey(): never {
  throw usageError(
    "--api-key is refused: everybody on this machine can read a command line",
    "Put the key into a file and use --api-key-file, or set MUSTER_API_KEY, or: muster login",
  );
}
