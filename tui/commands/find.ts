import {
  type LookupCandidate,
  LookupResponseSchema,
  LookupType,
  SystemService,
} from "@muster/client/v1/system_service";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { listOption, wholeOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import { type Cell, layTable } from "../output/table.ts";

interface FindOptions {
  readonly type?: readonly string[];
  readonly limit?: number;
}

/** Registers `muster find`. */
export function registerFind(cli: Cli): void {
  cli.program
    .command("find <text>")
    .description(
      `Find what a part of an id or a name may mean. Exits with ${exitCodes.notFound} when it means nothing.`,
    )
    .examples("muster find 8qkx2m", "muster find gpu --type worker,skill", "muster find shot-0412 -o name")
    .option(
      "--type <type>",
      `only of this sort (${words.join(", ")}); repeat or use commas for more`,
      listOption,
    )
    .option("-n, --limit <number>", "candidates to show (10)", wholeOption(1, 100))
    .action(
      cli.action(async (call, text: string, { type = [], limit = 0 }: FindOptions) => {
        const request = { text, types: type.map(readType), limit };
        const response = await call.client(SystemService).lookup(request, call.once());
        const { candidates, truncated } = response;
        call.output.print({
          schema: LookupResponseSchema,
          message: response,
          text: () => candidateTable(candidates, call.output),
          names: () => candidates.map(({ id }) => id),
        });
        if (call.output.format === "text") {
          if (candidates.length === 0) call.output.note("Nothing is called so.");
          else if (truncated) call.output.note("There are more: --limit, --type, or more characters.");
        }
        return candidates.length === 0 ? exitCodes.notFound : exitCodes.done;
      }),
    );
}

const words = Object.values(LookupType)
  .filter((type): type is LookupType => typeof type === "number" && type !== LookupType.UNSPECIFIED)
  .map(typeWord);

function candidateTable(candidates: readonly LookupCandidate[], output: Output): string[] {
  if (candidates.length === 0) return [];
  const columns = [{ title: "TYPE" }, { title: "ID" }, { title: "NAME" }];
  const rows = candidates.map(({ type, id, label }): Cell[] => [typeWord(type), id, label || "-"]);
  return layTable(columns, rows, output.layout);
}

// A newer coordinator may know more of them.
function typeWord(type: LookupType): string {
  return (LookupType[type] ?? "unknown").toLowerCase();
}

function readType(word: string): LookupType {
  const found = Object.values(LookupType).find(
    (type): type is LookupType => typeof type === "number" && typeWord(type) === word.toLowerCase(),
  );
  if (found !== undefined && found !== LookupType.UNSPECIFIED) return found;
  throw usageError(
    `--type has no sort ${JSON.stringify(word)}`,
    `${didYouMean(word, words) ?? ""} Sorts are: ${words.join(", ")}.`.trim(),
  );
}
