import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  CreateEnrolmentResponseSchema,
  type Enrolment,
  EnrolmentService,
  EnrolmentState,
  ListEnrolmentsResponseSchema,
  RevokeEnrolmentResponseSchema,
} from "@muster/client/v1/enrolment_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { keepNewKey } from "../input/key-file.ts";
import { type LimitOptions, limitsOf, limitsText, withLimits } from "../input/limit-options.ts";
import { durationOption, wholeOption } from "../input/options.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showDuration } from "../output/time.ts";
import { registerPolicy } from "./enrolment-policy.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface CreateOptions extends LimitOptions {
  /** In milliseconds. */
  readonly ttl?: number;
  readonly uses?: number;
  readonly namePattern?: string;
  readonly tokenFile?: string;
}

/** Registers `muster enrolment`. */
export function registerEnrolment(cli: Cli): void {
  const enrolment = cli.program
    .command("enrolment")
    .alias("enrolments")
    .description("Let machines become workers: by tokens, or by the people who bring them.");
  registerCreate(enrolment, cli);
  registerList(enrolment, cli);
  registerRevoke(enrolment, cli);
  registerPolicy(enrolment, cli);
}

function registerCreate(enrolment: MusterCommand, cli: Cli): void {
  withLimits(
    enrolment
      .command("create <name>")
      .description(
        "Make a token with which a machine becomes a worker. It is shown this once: stdout has nothing else.",
      )
      .examples(
        "muster enrolment create lab --skill gpu --slots 2 --token-file lab.token",
        "muster enrolment create fleet --uses 20 --name-pattern 'build-*' --ttl 1h",
        "muster worker enrol --token-file lab.token --key-file worker.key    # on the machine",
      )
      .option("--ttl <duration>", "how long it is valid, 1m to 1h (15m)", durationOption)
      .option("--uses <number>", "how many workers it may make (1)", wholeOption(1, 100))
      .option("--name-pattern <pattern>", "what their names must be like; * is any text (any name)")
      .option("--token-file <path>", "write it to this new file, for your user alone, instead of stdout"),
    "a skill that they may have, '*' for any; repeat or use commas for more (none)",
  ).action(cli.action((call, name: string, options: CreateOptions) => createEnrolment(call, name, options)));
}

async function createEnrolment(call: Call, name: string, options: CreateOptions): Promise<number> {
  const { output } = call;
  const { ttl, uses = 0, namePattern = "", tokenFile } = options;
  if (output.format === "name" && tokenFile === undefined) {
    throw usageError(
      "-o name prints the id alone, and the token is never shown again",
      "Give --token-file, or leave -o name out.",
    );
  }
  const time = ttl === undefined ? {} : { ttl: durationFromMs(ttl) };
  const request = { name, uses, namePattern, limits: limitsOf(options), ...time };
  const make = () => call.client(EnrolmentService).createEnrolment(request, call.once());
  const keep = async () => {
    const answer = await make();
    const made = answer.enrolment?.enrolmentId ?? "";
    const suggestion = `Revoke it with \`muster enrolment revoke ${made}\`, and make another.`;
    return { answer, key: answer.token, made: `the enrolment ${made} is made`, suggestion };
  };
  const response =
    tokenFile === undefined
      ? await make()
      : await keepNewKey(call.surroundings, tokenFile, keep, "--token-file");
  const id = response.enrolment?.enrolmentId ?? "";
  const shown = tokenFile === undefined ? response : { ...response, token: "" };
  output.print({
    schema: CreateEnrolmentResponseSchema,
    message: create(CreateEnrolmentResponseSchema, shown),
    text: () => (tokenFile === undefined ? [sanitize(response.token)] : []),
    names: () => [id],
  });
  const where =
    tokenFile === undefined ? "This is its token; it is not shown again." : `Its token is in ${tokenFile}.`;
  output.note(`Made the enrolment ${name} (${id}). ${where} It ends in ${showDuration(ttl ?? 900_000)}.`);
  return exitCodes.done;
}

function registerList(enrolment: MusterCommand, cli: Cli): void {
  withPages(enrolment.command("list").alias("ls"))
    .description("List enrolments, newest first; never their tokens.")
    .examples("muster enrolment list", "muster enrolment list --ended --json")
    .option("--ended", "used, expired and revoked ones, too")
    .action(
      cli.action(async (call, options: PageOptions & { readonly ended?: boolean }) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { pageSize, pageToken, all: options.ended === true };
          const response = await call.client(EnrolmentService).listEnrolments(request, call.once());
          return { rows: response.enrolments, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListEnrolmentsResponseSchema,
          message: create(ListEnrolmentsResponseSchema, {
            enrolments: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => enrolmentTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ enrolmentId }) => enrolmentId),
        });
        notePage(call.output, page, "enrolments");
        return exitCodes.done;
      }),
    );
}

function registerRevoke(enrolment: MusterCommand, cli: Cli): void {
  enrolment
    .command("revoke <id>")
    .description("Revoke the token of an enrolment. The workers that it made stay.")
    .examples('muster enrolment revoke 4fQz81aB9xYw --reason "it was in a log" --yes')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, enrolmentId: string, { reason = "" }: { readonly reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Revoke the enrolment ${enrolmentId}`,
          command: `muster enrolment revoke ${quote(enrolmentId)}${reason === "" ? "" : ` --reason ${quote(reason)}`}`,
        });
        const request = { enrolmentId, reason };
        const response = await call.client(EnrolmentService).revokeEnrolment(request, call.once());
        call.output.print({
          schema: RevokeEnrolmentResponseSchema,
          message: response,
          text: () => [`${enrolmentId}\trevoked`],
          names: () => [enrolmentId],
        });
        return exitCodes.done;
      }),
    );
}

function enrolmentTable(rows: readonly Enrolment[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "ENROLMENT" },
    { title: "ID" },
    { title: "STATE" },
    { title: "USED", align: "right" },
    { title: "NAMES", drop: 2 },
    { title: "MADE", align: "right", drop: 1 },
    { title: "BY", isWide: true },
    { title: "LIMITS" },
  ] as const;
  const cells = rows.map((one): Cell[] => [
    sanitize(one.name),
    one.enrolmentId,
    stateWords[one.state],
    `${one.used}/${one.uses}`,
    sanitize(one.namePattern || "any"),
    output.age(one.createTime, nowMs),
    sanitize(one.creator),
    sanitize(limitsText(one.limits) ?? ""),
  ]);
  return layTable(columns, cells, output.layout);
}

const stateWords: Readonly<Record<EnrolmentState, string>> = {
  [EnrolmentState.UNSPECIFIED]: "unknown",
  [EnrolmentState.ACTIVE]: "active",
  [EnrolmentState.USED]: "used",
  [EnrolmentState.EXPIRED]: "expired",
  [EnrolmentState.REVOKED]: "revoked",
};
