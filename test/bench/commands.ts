import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

/** What a child can be asked, by name. */
export type Commands = Readonly<Record<string, (options: Options) => Promise<Answer> | Answer>>;

type Options = Readonly<Record<string, unknown>>;
type Answer = Readonly<Record<string, unknown>> | undefined;

/** Reports a line to the parent. */
export function report(line: Readonly<Record<string, unknown>>): void {
  writeSync(3, `${JSON.stringify(line)}\n`);
}

/** Answers the commands of the parent, each when it is done; ends this process when the parent is gone. */
export function answerCommands(commands: Commands): void {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", async (text) => {
    const { call, command, ...options } = JSON.parse(text);
    try {
      const act = commands[command];
      if (act === undefined) throw new Error(`there is no command ${command}`);
      report({ ...(await act(options)), answers: call });
    } catch (error) {
      report({
        answers: call,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
  });
  lines.on("close", () => process.exit(1));
}
