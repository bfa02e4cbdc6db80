import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { reportError } from "../report.ts";
import { type Change, type Plan, placed } from "./plan.ts";

const done = { create: "created", change: "changed", none: "unchanged", remove: "removed" } as const;

/**
 * Does what a plan says, in its order; one that fails does not keep the others from being done. Prints what became of
 * each. Throws PART_FAILED (exit 12) when some failed, and the first failure itself when nothing was done at all.
 */
export async function makeChanges(call: Call, { changes }: Plan, reason: string): Promise<void> {
  const failures: { readonly change: Change; readonly error: unknown }[] = [];
  let made = 0;
  for (const change of changes) {
    try {
      await makeOne(call, change, reason);
    } catch (error) {
      call.signal.throwIfAborted();
      failures.push({ change, error });
      // Out of reach now is out of reach for all that follow.
      if (reportError(error, call.context()).exitCode === exitCodes.unreachable) break;
      continue;
    }
    if (change.action !== "none") made += 1;
    const { resource, name, action } = change;
    const value = { kind: resource.kind, name, action: done[action] };
    if (call.output.format === "json") continue;
    call.output.printValue(
      value,
      () => [`${resource.kind}\t${sanitize(name)}\t${done[action]}`],
      () => [`${resource.kind}/${name}`],
    );
  }
  if (call.output.format === "json") {
    const failed = new Set(failures.map(({ change }) => change));
    const all = changes.map((change) => ({
      kind: change.resource.kind,
      name: change.name,
      action: failed.has(change) ? "failed" : done[change.action],
    }));
    call.output.printValue({ changes: all }, () => []);
  }
  const [first] = failures;
  if (first === undefined) return;
  if (made === 0 && failures.length === 1) throw first.error;
  throw new CliError(`${failures.length} of ${changes.length} could not be applied`, {
    reason: "PART_FAILED",
    exitCode: exitCodes.partFailed,
    suggestion: "The others were. Correct these and apply again: what is as it should be is left alone.",
    violations: failures.flatMap(({ change, error }) => {
      const { resource, name, document } = change;
      const known = document === null ? null : placed(error, resource, document);
      const { message, reason: why } = reportError(error, call.context());
      return (
        known ?? [{ field: document?.place ?? `${resource.kind} ${name}`, message: `${message} (${why})` }]
      );
    }),
  });
}

async function makeOne(
  call: Call,
  { resource, name, action, document }: Change,
  reason: string,
): Promise<void> {
  if (action === "none") return;
  if (document === null) await resource.remove(call, name, reason);
  else await resource.put(call, name, document.spec, reason);
}
