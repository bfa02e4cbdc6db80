import { GetStatusResponseSchema, type Status, StatusService } from "@muster/client/v1/status_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import { leanInk } from "../top/lean-ink.ts";
import { type ThemeName, themeNames } from "../top/shell/themes.ts";
import { keepYoungSpace } from "../top/young-space.ts";
import { readVersion } from "../version.ts";
import { jobTable } from "./job-show.ts";
import { statusPage, watchStatus } from "./status.ts";
import { contextBarrier, contextEntries, inContext } from "./top-contexts.ts";
import { workerTable } from "./worker.ts";

/** Registers `muster top`. */
export function registerTop(cli: Cli): void {
  cli.program
    .command("top")
    .description(
      "Watch workers, flow and running jobs on one live screen. Where output is no terminal: one snapshot.",
    )
    .aliases(["ui", "tui"])
    .examples(
      "muster top",
      "muster top --view jobs --theme cb-safe",
      "muster top --watch -o jsonl    # the data behind it, a line each second",
    )
    .option("--view <view>", "the view to begin with, like jobs")
    .option("--theme <theme>", `colours: ${themeNames.join(", ")}`)
    .option("--a11y", "for screen readers: a line a fact, no boxes (also with INK_SCREEN_READER=true)")
    .option("-w, --watch", "without the screen: stream the data (-o jsonl)")
    .notes("On the screen: ? shows every key, q quits. It survives a restart of the coordinator.")
    .action(cli.action((call, options: Options) => runTop(call, options)));
}

interface Options {
  readonly watch?: boolean;
  readonly view?: string;
  readonly theme?: string;
  readonly a11y?: boolean;
}

async function runTop(call: Call, options: Options): Promise<number> {
  const { output, surroundings } = call;
  if (options.watch === true) {
    if (output.format === "text") throw usageError("--watch streams data", "Add -o jsonl.");
    return watchStatus(call, { detail: true });
  }
  if (output.format === "text" && output.isTty && surroundings.stdin.isTTY === true) {
    // React and Ink take their time to load; no other command needs them.
    keepYoungSpace();
    const loaded = leanInk();
    const { runTopScreen } = await import("../top/run.tsx");
    loaded();
    const theme = options.theme === undefined ? {} : { theme: readTheme(options.theme) };
    const { view } = options;
    const entries = contextEntries(call);
    return runTopScreen(call, {
      ...theme,
      ...(view === undefined ? {} : { view }),
      isLinear: options.a11y === true || surroundings.env["INK_SCREEN_READER"] === "true",
      version: readVersion(),
      ...(entries.length === 0
        ? {}
        : {
            contexts: {
              list: () => entries,
              open: (name: string) => runTop(inContext(call, name), options),
              barrier: (name: string) => contextBarrier(call, name),
            },
          }),
    });
  }
  const response = await call.client(StatusService).getStatus({ detail: true }, call.once());
  output.print({
    schema: GetStatusResponseSchema,
    message: response,
    text: () =>
      response.status === undefined ? [] : snapshotLines(response.status, output, surroundings.now()),
  });
  return exitCodes.done;
}

function readTheme(text: string): ThemeName {
  const theme = themeNames.find((name) => name === text);
  if (theme !== undefined) return theme;
  throw usageError(
    `--theme has no ${JSON.stringify(text)}`,
    `${didYouMean(text, themeNames) ?? ""} Use one of ${themeNames.join(", ")}.`.trim(),
  );
}

function snapshotLines(status: Status, output: Output, nowMs: number): string[] {
  return [
    ...statusPage(status, output),
    "",
    ...workerTable(status.workerList, output, nowMs),
    "",
    ...jobTable(status.running, output, nowMs),
  ];
}
