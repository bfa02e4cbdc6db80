import { create } from "@bufbuild/protobuf";
import {
  type AuditProblem,
  AuditProblemType,
  AuditService,
  type VerifyAuditLogResponse,
  VerifyAuditLogResponseSchema,
} from "@muster/client/v1/audit_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { layFacts, layTable } from "../output/table.ts";
import { showCount, showCounted } from "../output/time.ts";

/** Problems that are shown of one run at most. */
const mostProblems = 1_000;

/** Registers `muster audit verify`. */
export function registerVerify(audit: MusterCommand, cli: Cli): void {
  audit
    .command("verify")
    .description("Check the log against the chain of its hashes. Exits with 11 when something is wrong.")
    .examples(
      "muster audit verify",
      "muster audit verify -o json | jq -r .head > audit-head",
      'muster audit verify --head "$(cat audit-head)"',
    )
    .option("--head <head>", "a head that you kept elsewhere: 12:ab…; the chain must still hold it")
    .notes(
      "An entry is hashed when it is written, and chained a few seconds later. Entries that were edited,\n" +
        "deleted, added or put in another order afterwards are found. That the newest are gone, with their\n" +
        "part of the chain, only a head tells that is kept elsewhere: take one each day.",
    )
    .action(cli.action((call, { head = "" }: { readonly head?: string }) => verify(call, head)));
}

async function verify(call: Call, head: string): Promise<number> {
  const problems: AuditProblem[] = [];
  let [entries, seals, nextSeal] = [0n, 0n, 0n];
  let answer: VerifyAuditLogResponse;
  do {
    answer = await call.client(AuditService).verifyAuditLog({ afterSeal: nextSeal, head }, call.once());
    problems.push(...answer.problems.slice(0, mostProblems - problems.length));
    entries += answer.entries;
    seals += answer.seals;
    nextSeal = answer.nextSeal;
  } while (nextSeal !== 0n && !call.signal.aborted);
  call.signal.throwIfAborted();
  const { output } = call;
  output.print({
    schema: VerifyAuditLogResponseSchema,
    message: create(VerifyAuditLogResponseSchema, { ...answer, problems, entries, seals }),
    text: () => [
      ...problemTable(problems, call),
      ...layFacts(
        [
          ["entries", showCount(Number(entries))],
          ["seals", showCount(Number(seals))],
          ["not sealed yet", showCount(Number(answer.unsealed))],
          ["head", answer.head || "-"],
        ],
        output.layout,
      ),
    ],
    names: () => [answer.head],
  });
  if (problems.length === 0) {
    output.note("The log is as it was sealed.");
    return exitCodes.done;
  }
  output.note(`${showCounted(problems.length, "problem")}: somebody changed the log behind Muster's back.`);
  return exitCodes.checkFailed;
}

function problemTable(problems: readonly AuditProblem[], { output }: Call): string[] {
  if (problems.length === 0) return [];
  const columns = [{ title: "SEAL", align: "right" } as const, { title: "PROBLEM" }, { title: "ENTRY" }];
  const rows = problems.map(({ type, seal, auditId }) => [String(seal), problemWords[type], auditId || "-"]);
  return layTable(columns, rows, output.layout);
}

const problemWords: { readonly [T in AuditProblemType]: string } = {
  [AuditProblemType.UNSPECIFIED]: "is not as it was",
  [AuditProblemType.EDITED]: "was edited",
  [AuditProblemType.DELETED]: "was deleted",
  [AuditProblemType.ADDED]: "was put among sealed ones",
  [AuditProblemType.REORDERED]: "stands in another order",
  [AuditProblemType.BROKEN]: "does not follow from the seal before",
  [AuditProblemType.MISSING]: "is gone",
  [AuditProblemType.HEAD]: "is not the head that was kept",
};
