import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { reportError } from "../report.ts";

/**
 * Does the same with each id. One that fails does not stop the others: with several ids the failures are told
 * together at the end, with exit code 12.
 */
export async function forEachId(
  call: Call,
  ids: readonly string[],
  act: (id: string) => Promise<void>,
): Promise<number> {
  const failures: { id: string; error: unknown }[] = [];
  for (const id of ids) {
    try {
      await act(id);
    } catch (error) {
      if (call.signal.aborted || ids.length === 1) throw error;
      failures.push({ id, error });
    }
  }
  const [first] = failures;
  if (first === undefined) return exitCodes.done;
  if (failures.length === ids.length && isUnreachable(first.error, call)) throw first.error;
  throw new CliError(`${failures.length} of ${ids.length} failed`, {
    reason: "PART_FAILED",
    exitCode: exitCodes.partFailed,
    suggestion: "The others are done.",
    violations: failures.map(({ id, error }) => {
      const { message, reason } = reportError(error, call.context());
      return { field: id, message: `${message} (${reason})` };
    }),
  });
}

function isUnreachable(error: unknown, call: Call): boolean {
  return reportError(error, call.context()).exitCode === exitCodes.unreachable;
}
