import { jobFilterTerms, workerFilterTerms } from "@muster/client/filter";
import type { Argument, Command, Option } from "commander";
import { contextNames } from "../config/choose.ts";
import { loadConfig } from "../config/files.ts";
import { contextSettings, settings } from "../config/settings.ts";
import { helpTopics } from "../help/topics.ts";
import { formats } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { timeStyles } from "../output/time.ts";
import type { Surroundings } from "../surroundings.ts";
import { liveNames } from "./live.ts";
import { shells } from "./scripts.ts";

/** Something that may stand where the cursor is. */
export interface Candidate {
  readonly value: string;
  readonly about: string;
}

/** What may stand there; `files` lets the shell offer files. */
export interface Completion {
  readonly candidates: readonly Candidate[];
  readonly files: boolean;
}

/** Values that are known without a coordinator, by the long name of the option or the name of the argument. */
const fixed: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ["output", formats],
  ["time", timeStyles],
  ["color", ["auto", "always", "never"]],
  ["state", "blocked scheduled ready offered running parked succeeded cancelled dead".split(" ")],
  ["priority", ["low", "normal", "high", "critical"]],
  ["after-failure", ["cancel", "release"]],
  ["transport", ["auto", "stream", "poll"]],
  ["shell", shells],
  ["words", [...helpTopics.keys()]],
  ["topic", [...helpTopics.keys()]],
  ["part", ["client", "worker", "server"]],
  [
    "setting",
    [...settings.map(({ name }) => name), ...contextSettings.map(({ name }) => `contexts.NAME.${name}`)],
  ],
]);

/**
 * Completes a command line: the words before the cursor, without the program's name; the last one is being typed and
 * may be empty. Ids come from the coordinator within a second; where it does not answer there are none. Never throws.
 */
export async function complete(
  program: Command,
  words: readonly string[],
  surroundings: Surroundings,
): Promise<Completion> {
  const current = words.at(-1) ?? "";
  const place = findPlace(program, words.slice(0, -1));
  if (place.kind === "program") return { candidates: [], files: true };
  const [flag, begun] = /^(--[a-z-]+)=(.*)$/.exec(current)?.slice(1) ?? [];
  const option = flag === undefined ? place.option : place.command.options.find(({ long }) => long === flag);
  if (option !== undefined) {
    const text = begun ?? current;
    const found = await valuesOf(option, place, text, surroundings);
    const prefix = flag === undefined ? "" : `${flag}=`;
    return {
      ...found,
      candidates: beginning(found.candidates, text).map((one) => ({ ...one, value: prefix + one.value })),
    };
  }
  if (current.startsWith("-"))
    return { candidates: beginning(optionsOf(place.command), current), files: false };
  const below = place.position === 0 ? commandsOf(place.command) : [];
  const argument = place.command.registeredArguments[place.position] ?? variadicOf(place.command);
  const values = argument === undefined ? noValues : await valuesOf(argument, place, current, surroundings);
  return { candidates: beginning([...below, ...values.candidates], current), files: values.files };
}

/** A line a candidate, with a tab before what it is about; the last line says what the shell adds: `:files`, `:none`. */
export function completionLines({ candidates, files }: Completion): string[] {
  return [
    ...candidates.map(({ value, about }) => `${value}\t${sanitize(about)}`),
    files ? ":files" : ":none",
  ];
}

const noValues: Completion = { candidates: [], files: false };

interface Place {
  readonly kind: "command";
  readonly command: Command;
  /** The option whose value is being typed. */
  readonly option: Option | undefined;
  /** How many arguments stand before. */
  readonly position: number;
}

// What follows `--` is a program of the user's.
function findPlace(program: Command, before: readonly string[]): Place | { readonly kind: "program" } {
  let command = program;
  let option: Option | undefined;
  let position = 0;
  for (const word of before) {
    if (option !== undefined) {
      option = undefined;
    } else if (word === "--") {
      return { kind: "program" };
    } else if (word.startsWith("-") && word.length > 1) {
      const found = command.options.find(({ long, short }) => word === long || word === short);
      if (found?.required === true) option = found;
    } else {
      const below = position === 0 ? commandNamed(command, word) : undefined;
      if (below === undefined) position += 1;
      else command = below;
    }
  }
  return { kind: "command", command, option, position };
}

function commandNamed(command: Command, word: string): Command | undefined {
  return command.commands.find((one) => one.name() === word || one.aliases().includes(word));
}

function commandsOf(command: Command): Candidate[] {
  return command.commands.map((one) => ({ value: one.name(), about: firstSentence(one.description()) }));
}

function optionsOf(command: Command): Candidate[] {
  return command.options.flatMap(({ long, description }) =>
    long == null || long === "--api-key" ? [] : [{ value: long, about: description }],
  );
}

function variadicOf(command: Command): Argument | undefined {
  const last = command.registeredArguments.at(-1);
  return last?.variadic === true ? last : undefined;
}

async function valuesOf(
  of: Option | Argument,
  place: Place,
  text: string,
  surroundings: Surroundings,
): Promise<Completion> {
  const value = "flags" in of ? (/[<[]([^>\].]+)/.exec(of.flags)?.[1] ?? "") : of.name();
  const name =
    "flags" in of ? of.attributeName().replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`) : of.name();
  if (/^(path|file|directory)$/.test(value)) return { candidates: [], files: true };
  if (value === "filter") return completeFilter(place, text, surroundings);
  const known = of.argChoices ?? fixed.get(name) ?? fixed.get(value);
  if (known !== undefined) return only(known);
  const noun = place.command.parent?.name() ?? "";
  if (name === "context" || (noun === "context" && name === "name")) {
    const config = await loadConfig(surroundings).catch(() => undefined);
    return only(config === undefined ? [] : contextNames(config));
  }
  // `queue pause <name>` is about queues, and so is `--queue <name>`.
  const sorts = "flags" in of ? [name, value] : [value === "name" ? noun : value];
  const candidates = await liveNames({ sorts, text, globals: place.command, surroundings });
  return { candidates, files: false };
}

// The last term is completed; the terms before it stay in front.
async function completeFilter(place: Place, text: string, surroundings: Surroundings): Promise<Completion> {
  const terms = place.command.parent?.name() === "worker" ? workerFilterTerms : jobFilterTerms;
  const [, before = "", last = ""] = /^(.*\s)?(\S*)$/s.exec(text) ?? [];
  const [, head = "", key = "", begun] = /^(-?([a-z]*):(?:[^,]*,)*)([^,]*)$/.exec(last) ?? [];
  if (begun === undefined) {
    const minus = last.startsWith("-") ? "-" : "";
    const keys = terms.map(({ key: name, doc }) => ({ value: `${before}${minus}${name}:`, about: doc }));
    return { candidates: keys, files: false };
  }
  const values = terms.find((term) => term.key === key)?.values ?? [];
  const names =
    values.length > 0
      ? values.map((value) => ({ value, about: "" }))
      : await liveNames({ sorts: [key], text: begun, globals: place.command, surroundings });
  return {
    candidates: names.map(({ value, about }) => ({ value: `${before}${head}${value}`, about })),
    files: false,
  };
}

function only(values: readonly string[]): Completion {
  return { candidates: values.map((value) => ({ value, about: "" })), files: false };
}

function beginning(candidates: readonly Candidate[], text: string): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(text));
}

function firstSentence(text: string): string {
  return text.split(/(?<=[.:])\s/)[0] ?? text;
}
