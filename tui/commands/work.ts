import { CheckWorkResponseSchema, ExplainService, type ReadyLine } from "@muster/client/v1/explain_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { listOption, wholeOption } from "../input/options.ts";
import { showPriority } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";

/** Ready jobs that the coordinator counts at most. */
const mostCounted = 10_000;

interface CheckOptions {
  readonly skills?: readonly string[];
  readonly points?: number;
  readonly kinds?: readonly string[];
}

/** Registers `muster work`. */
export function registerWork(cli: Cli): void {
  cli.program
    .command("work")
    .description("Look for work without being a worker.")
    .command("check")
    .description(
      `Is there work for somebody with these skills, and which? Exits with ${exitCodes.noWork} when there is none.`,
    )
    .examples(
      "muster work check --skills gpu,blender --points 8",
      "muster work check --kinds shell.run -q && ./start-a-worker",
    )
    .option("--skills <skills>", "what it can; repeat or use commas for more", listOption)
    .option("--points <number>", "what it could take (any size)", wholeOption(1, 1_000_000))
    .option("--kinds <kinds>", "the kinds that it has handlers for (any)", listOption)
    .action(
      cli.action(async (call, { skills = [], points = 0, kinds = [] }: CheckOptions) => {
        const request = { skills: [...skills], points, kinds: [...kinds] };
        const response = await call.client(ExplainService).checkWork(request, call.once());
        call.output.print({
          schema: CheckWorkResponseSchema,
          message: response,
          text: () =>
            response.available ? lineTable(response.lines, call.output, call.surroundings.now()) : [],
          names: () => response.lines.map(({ firstJobId }) => firstJobId),
        });
        if (!response.available) call.output.note("No work.");
        return response.available ? exitCodes.done : exitCodes.noWork;
      }),
    );
}

/** A table of ready lines. */
export function lineTable(lines: readonly ReadyLine[], output: Output, nowMs: number): string[] {
  const isJudged = lines.some(({ reason }) => reason !== "");
  const columns = [
    { title: "KIND" },
    { title: "QUEUE", drop: 3 },
    { title: "READY", align: "right" },
    { title: "SINCE", align: "right", drop: 2 },
    { title: "PRIORITY", align: "right", drop: 1 },
    { title: "POINTS", align: "right", drop: 4 },
    { title: "SKILLS" },
    ...(isJudged ? [{ title: "WHY NOT" } as const] : []),
  ] as const;
  const rows = lines.map((line): Cell[] => [
    line.kind,
    line.queue,
    line.ready >= mostCounted ? `${showCount(mostCounted)}+` : showCount(line.ready),
    output.age(line.readyTime, nowMs),
    showPriority(line.priority),
    String(line.points),
    line.requiredSkills.join(" ") || "-",
    ...(isJudged ? [line.reason === "" ? "" : `${line.reason}: ${line.detail}`] : []),
  ]);
  return layTable(columns, rows, output.layout);
}
