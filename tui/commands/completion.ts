import type { Cli } from "../command.ts";
import { completionScript, shells } from "../completion/scripts.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";

/** Registers `muster completion`. */
export function registerCompletion(cli: Cli): void {
  cli.program
    .command("completion <shell>")
    .description("Print what a shell needs to complete commands, options and ids.")
    .examples(
      "source <(muster completion bash)",
      "source <(muster completion zsh)",
      "muster completion fish > ~/.config/fish/completions/muster.fish",
      "muster completion powershell | Out-String | Invoke-Expression",
    )
    .notes("Ids and names are asked of the coordinator, for a second at most; without one there are none.")
    .action(
      cli.action(
        async (call, name: string) => {
          const shell = shells.find((one) => one === name);
          if (shell === undefined) {
            throw usageError(
              `there is no completion for ${JSON.stringify(name)}`,
              didYouMean(name, shells) ?? `There is bash, zsh, fish and powershell.`,
            );
          }
          call.output.data(completionScript(shell));
          return exitCodes.done;
        },
        { noConfig: true },
      ),
    );
}
