import { type DeadLetterGroup, JobService } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCount } from "../output/time.ts";
import { didYouMean } from "./suggest.ts";

/** A group of dead letters as the command line names it. */
export interface NamedGroup {
  readonly fingerprint: string;
  /** What to throw when there is no such group after all. */
  readonly absent: CliError;
}

/**
 * Finds the group of dead letters that a fingerprint, or the beginning of one, names. Throws a usage error for what is
 * no fingerprint, and AMBIGUOUS_ID with the candidates. Of more than 1,000 groups those of the fewest letters are
 * found by their whole fingerprint only.
 */
export async function findGroup(call: Call, given: string): Promise<NamedGroup> {
  const text = given.replace(/(…|\.\.\.)$/, "").toLowerCase();
  if (!/^[0-9a-f]{1,64}$/.test(text)) {
    throw usageError(`--group is not a fingerprint: ${JSON.stringify(given)}`, seeGroups);
  }
  const { groups } = await call.client(JobService).listDeadLetterGroups({ pageSize: 1_000 }, call.once());
  const found = groups.filter(({ fingerprint }) => fingerprint.startsWith(text));
  const [only] = found;
  const fingerprint = found.length === 1 && only !== undefined ? only.fingerprint : text;
  if (found.length > 1 && !found.some((group) => group.fingerprint === text)) throw ambiguous(given, found);
  if (fingerprint !== text) call.output.note(`${given} is ${fingerprint}`);
  const meant = didYouMean(
    text,
    groups.map((group) => group.fingerprint),
  );
  const absent = new CliError(`there is no group of dead letters ${JSON.stringify(given)}`, {
    reason: "DEAD_LETTER_GROUP_NOT_FOUND",
    exitCode: exitCodes.notFound,
    suggestion: meant === undefined ? seeGroups : `${meant} ${seeGroups}`,
  });
  return { fingerprint, absent };
}

const seeGroups = "See the groups with: muster dlq groups";

function ambiguous(given: string, groups: readonly DeadLetterGroup[]): CliError {
  return new CliError("part of a fingerprint stands for more than one", {
    reason: "AMBIGUOUS_ID",
    exitCode: exitCodes.usage,
    suggestion: "Give more of the fingerprint.",
    violations: groups.map(({ fingerprint, kind, count }) => ({
      field: given,
      message: `${fingerprint}  ${sanitize(kind)}, ${showCount(count)}`,
    })),
  });
}
