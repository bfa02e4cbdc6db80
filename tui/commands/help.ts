import type { Command } from "commander";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { helpTopics } from "../help/topics.ts";
import { didYouMean } from "../input/suggest.ts";

/** Registers `muster help`. */
export function registerHelp(cli: Cli): void {
  const topics = [...helpTopics.keys()];
  cli.program
    .command("help [words...]")
    .description("Show help on a command or a topic.")
    .examples("muster help job submit", ...topics.map((topic) => `muster help ${topic}`))
    .action(
      cli.action(
        async (call, words: string[]) => {
          const topic = words.length === 1 ? helpTopics.get(words[0] ?? "") : undefined;
          if (topic !== undefined) {
            for (const line of topic(call.output)) call.output.data(line);
            return exitCodes.done;
          }
          call.output.data(findCommand(cli.program, words, topics).helpInformation().trimEnd());
          if (words.length === 0)
            call.output.data(`\nTopics: ${topics.map((one) => `muster help ${one}`).join(", ")}`);
          return exitCodes.done;
        },
        { noConfig: true },
      ),
    );
}

/** Registers `muster docs`: what `muster help` has, to read or to keep. */
export function registerDocs(cli: Cli): void {
  const topics = [...helpTopics.keys()];
  cli.program
    .command("docs [topic]")
    .description("Print the topics of the help, one or all.")
    .examples("muster docs", "muster docs filter", "muster docs > muster.txt")
    .action(
      cli.action(
        async (call, name: string | undefined) => {
          const found = name === undefined ? topics : topics.filter((topic) => topic === name);
          if (found.length === 0) {
            throw usageError(
              `there is no topic ${JSON.stringify(name)}`,
              didYouMean(name ?? "", topics) ?? `There are ${topics.join(", ")}.`,
            );
          }
          for (const [at, topic] of found.entries()) {
            if (at > 0) call.output.data("");
            if (name === undefined) call.output.data(`${topic}\n${"=".repeat(topic.length)}`);
            for (const line of helpTopics.get(topic)?.(call.output) ?? []) call.output.data(line);
          }
          return exitCodes.done;
        },
        { noConfig: true },
      ),
    );
}

function findCommand(program: Command, words: readonly string[], topics: readonly string[]): Command {
  return words.reduce((command, word, depth) => {
    const found = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    if (found !== undefined) return found;
    const names = command.commands.map((one) => one.name()).concat(depth === 0 ? topics : []);
    throw usageError(
      `there is no command or topic ${JSON.stringify(words.slice(0, depth + 1).join(" "))}`,
      didYouMean(word, names) ??
        `See what there is with: muster ${words.slice(0, depth).concat("--help").join(" ")}`,
    );
  }, program);
}
