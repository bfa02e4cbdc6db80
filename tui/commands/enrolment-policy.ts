import {
  EnrolmentMode,
  type EnrolmentPolicy,
  EnrolmentService,
  GetEnrolmentPolicyResponseSchema,
  PutEnrolmentPolicyResponseSchema,
} from "@muster/client/v1/enrolment_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { isAnyLimit, type LimitOptions, limitsOf, limitsText, withLimits } from "../input/limit-options.ts";
import { wholeOption } from "../input/options.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Output } from "../output/output.ts";
import { layFacts } from "../output/table.ts";

interface PolicyOptions extends LimitOptions {
  readonly machines?: number;
  readonly newcomerSlots?: number;
  readonly newcomerPoints?: number;
  readonly newcomerOpenPrs?: number;
  readonly reason?: string;
}

const modes = {
  closed: EnrolmentMode.CLOSED,
  approval: EnrolmentMode.APPROVAL,
  open: EnrolmentMode.OPEN,
} as const;

/** Registers `muster enrolment policy` and `muster enrolment set-policy`. */
export function registerPolicy(enrolment: MusterCommand, cli: Cli): void {
  enrolment
    .command("policy")
    .description("Show whether people may enrol own machines, and what those may do.")
    .examples("muster enrolment policy")
    .action(
      cli.action(async (call) => {
        const response = await call.client(EnrolmentService).getEnrolmentPolicy({}, call.once());
        call.output.print({
          schema: GetEnrolmentPolicyResponseSchema,
          message: response,
          text: () => policyFacts(response.policy, call.output),
          names: () => [modeWord(response.policy)],
        });
        return exitCodes.done;
      }),
    );
  withLimits(
    enrolment
      .command("set-policy <mode>")
      .description(
        "Say whether people may enrol own machines: closed, approval (an operator lets each in), or open.",
      )
      .examples(
        "muster enrolment set-policy approval --skill '*' --machines 5",
        "muster enrolment set-policy open --skill linux --newcomer-open-prs 2",
        'muster enrolment set-policy closed --reason "the sprint is over"',
      )
      .option("--machines <number>", "machines a person (3)", wholeOption(1, 1_000))
      .option("--newcomer-slots <number>", "jobs at once until it is approved (1)", wholeOption(1, 10_000))
      .option("--newcomer-points <number>", "points at once until it is approved", wholeOption(1, 1_000_000))
      .option(
        "--newcomer-open-prs <number>",
        "open pull requests until it is approved (1)",
        wholeOption(1, 10_000),
      )
      .option("--reason <text>", "for people"),
    "a skill that they may have, '*' for any; repeat or use commas for more (none)",
  )
    .notes("Replaces the whole policy. Machines that were enrolled before stay as they are.")
    .action(cli.action((call, mode: string, options: PolicyOptions) => setPolicy(call, mode, options)));
}

async function setPolicy(call: Call, word: string, options: PolicyOptions): Promise<number> {
  const mode = readMode(word);
  const { machines = 0, newcomerSlots = 1, newcomerPoints = 0, newcomerOpenPrs = 1, reason = "" } = options;
  const policy = {
    mode,
    machinesPerPerson: machines,
    ...(isAnyLimit(options) ? { limits: limitsOf(options) } : {}),
    newcomerLimits: { slots: newcomerSlots, points: newcomerPoints, openPrs: newcomerOpenPrs },
  };
  const response = await call.client(EnrolmentService).putEnrolmentPolicy({ policy, reason }, call.once());
  call.output.print({
    schema: PutEnrolmentPolicyResponseSchema,
    message: response,
    text: () => policyFacts(response.policy, call.output),
    names: () => [modeWord(response.policy)],
  });
  return exitCodes.done;
}

function readMode(word: string): EnrolmentMode {
  const words = Object.keys(modes);
  const found = Object.entries(modes).find(([name]) => name === word);
  if (found !== undefined) return found[1];
  throw usageError(
    `there is no mode ${JSON.stringify(word)}`,
    didYouMean(word, words) ?? `Use one of ${words.join(", ")}.`,
  );
}

function modeWord(policy: EnrolmentPolicy | undefined): string {
  return Object.entries(modes).find(([, mode]) => mode === policy?.mode)?.[0] ?? "closed";
}

function policyFacts(policy: EnrolmentPolicy | undefined, output: Output): string[] {
  return layFacts(
    [
      ["own machines", modeWord(policy)],
      ["a person", String(policy?.machinesPerPerson ?? 0)],
      ["limits", limitsText(policy?.limits)],
      ["newcomers", limitsText(policy?.newcomerLimits)],
    ],
    output.layout,
  );
}
