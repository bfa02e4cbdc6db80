import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { CoordinatorStatus } from "@muster/client/v1/status_service";
import {
  type GetSystemResponse,
  GetSystemResponseSchema,
  SystemService,
} from "@muster/client/v1/system_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showAge, showCount, showDuration } from "../output/time.ts";

/** Registers `muster system`. */
export function registerSystem(cli: Cli): void {
  cli.program
    .command("system")
    .description("Show the control plane itself: coordinators, database, and the one that answers.")
    .examples("muster system", "muster system --json | jq .database")
    .action(
      cli.action(async (call) => {
        const response = await call.client(SystemService).getSystem({}, call.once());
        call.output.print({
          schema: GetSystemResponseSchema,
          message: response,
          text: () => systemPage(response, call),
          names: () => response.coordinators.map(({ coordinatorId }) => coordinatorId),
        });
        return exitCodes.done;
      }),
    );
}

function systemPage(response: GetSystemResponse, { output }: Call): string[] {
  // Ages by the clock that the times are of.
  const nowMs = response.time === undefined ? 0 : timestampMs(response.time);
  const table = coordinatorTable(response, output, nowMs);
  return [...layFacts(systemFacts(response), output.layout), ...(output.isTty ? [""] : []), ...table];
}

function systemFacts(response: GetSystemResponse): [string, Cell | undefined][] {
  const { database, loopDelay } = response;
  const answers: [string, Cell | undefined][] = [
    ["answers", `${response.coordinatorId} (version ${response.version})`],
    ["memory", `${mebibytes(response.rssBytes)} MiB`],
    ["loop", loopDelay && `at most ${Math.round(durationToMs(loopDelay))} ms late`],
    ["watches", showCount(response.watches)],
  ];
  if (database === undefined) return answers;
  const { oldestTransaction, roundTrip, clockAhead } = database;
  const ahead = clockAhead === undefined ? 0 : durationToMs(clockAhead);
  return [
    ["database", `Postgres ${database.version}${database.embedded ? ", embedded" : ""}`],
    ["schema", database.schema],
    ["round trip", roundTrip && `${Math.round(durationToMs(roundTrip))} ms`],
    ["clock", `${showDuration(Math.abs(ahead))} ${ahead < 0 ? "behind" : "ahead"}`],
    ["connections", `${database.connections} of ${database.maxConnections}`],
    ["size", `${mebibytes(database.sizeBytes)} MiB`],
    [
      "oldest transaction",
      oldestTransaction === undefined ? "none is open" : showDuration(durationToMs(oldestTransaction)),
    ],
    ...answers,
  ];
}

function coordinatorTable({ coordinators, coordinatorId }: GetSystemResponse, output: Output, nowMs: number) {
  const columns = [
    { title: "COORDINATOR" },
    { title: "VERSION" },
    { title: "LINKS", align: "right" },
    { title: "UP", align: "right", drop: 2 },
    { title: "SEEN", align: "right", drop: 1 },
    { title: "ADDRESS" },
  ] as const;
  const rows = coordinators.map((one: CoordinatorStatus): Cell[] => [
    one.coordinatorId === coordinatorId ? { text: one.coordinatorId, style: "bold" } : one.coordinatorId,
    one.version,
    String(one.links),
    showAge(one.startTime, nowMs),
    showAge(one.seenTime, nowMs),
    one.apiAddress,
  ]);
  return layTable(columns, rows, output.layout);
}

function mebibytes(bytes: bigint): string {
  return showCount(Math.round(Number(bytes) / 1024 / 1024));
}
