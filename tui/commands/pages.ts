import type { MusterCommand } from "../command.ts";
import { wholeOption } from "../input/options.ts";
import type { Output } from "../output/output.ts";
import { showCount } from "../output/time.ts";

/** How much of a list is wanted. */
export interface PageOptions {
  readonly limit?: number;
  readonly all?: boolean;
  readonly pageToken?: string;
}

/** Rows, and where the rest begins; an empty token at the end. */
export interface Page<Row> {
  readonly rows: Row[];
  readonly nextPageToken: string;
}

/** How many rows a list has in all. */
export interface Total {
  readonly count: bigint;
  /** Not all were counted. */
  readonly isAtLeast: boolean;
}

/** Adds the options of every list. */
export function withPages<Command extends MusterCommand>(command: Command): Command {
  return command
    .option("-n, --limit <number>", "rows to show (30)", wholeOption(1, 1_000_000))
    .option("--all", "show every row")
    .option("--page-token <token>", "go on where an earlier list ended");
}

/** Fetches pages until there are enough rows. */
export async function collectPages<Row>(
  options: PageOptions,
  fetch: (pageSize: number, pageToken: string) => Promise<Page<Row>>,
): Promise<Page<Row>> {
  const wanted = options.all === true ? Number.POSITIVE_INFINITY : (options.limit ?? defaultLimit);
  const rows: Row[] = [];
  let nextPageToken = options.pageToken ?? "";
  do {
    const page = await fetch(Math.min(largestPage, wanted - rows.length), nextPageToken);
    rows.push(...page.rows);
    nextPageToken = page.nextPageToken;
  } while (nextPageToken !== "" && rows.length < wanted);
  return { rows, nextPageToken };
}

/** Says, to people, what a list left out. */
export function notePage(output: Output, page: Page<unknown>, noun: string, total?: Total): void {
  if (output.format !== "text") return;
  if (page.rows.length === 0) output.note(`No ${noun}.`);
  else if (page.nextPageToken !== "") {
    const of = total === undefined ? "" : ` of ${showCount(total.count)}${total.isAtLeast ? " or more" : ""}`;
    const more = `--all, --limit, --page-token ${page.nextPageToken}`;
    output.note(
      total === undefined
        ? `Showing ${showCount(page.rows.length)} ${noun}; there are more: ${more}`
        : `Showing ${showCount(page.rows.length)}${of} ${noun}: ${more}`,
    );
  }
}

const defaultLimit = 30;
const largestPage = 1000;
