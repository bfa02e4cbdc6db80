import type { Call } from "../call.ts";
import type { Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { readFiles, refuseViolations } from "./files.ts";
import { makePlan, placed } from "./plan.ts";
import type { Resource } from "./resource.ts";
import { resources } from "./resources.ts";
import { planLines } from "./show.ts";

/** How things of files are made by the command of their noun. */
export interface CreateFiles {
  /** Of which sort they must be. */
  readonly kind: string;
  readonly paths: readonly string[];
  readonly isDryRun: boolean;
  readonly reason: string;
}

/** Makes what files describe, all of one sort, and none of which there is one. All is checked before the first is made. */
export async function createFromFiles(
  call: Call,
  { kind, paths, isDryRun, reason }: CreateFiles,
): Promise<number> {
  const resource = resourceOf(kind);
  const documents = await readFiles(paths, resources, call.surroundings);
  const others = documents.filter((document) => document.kind !== kind);
  refuseViolations(
    others.map((document) => ({
      field: document.place,
      message: `is a ${document.kind}: muster apply takes all sorts of things`,
    })),
  );
  const { changes, violations } = await makePlan(call, [resource], documents);
  const taken = changes.flatMap(({ action, name, document }): Violation[] =>
    action === "create" || document === null
      ? []
      : [
          {
            field: document.place,
            message: `there is the ${kind} ${name} already: change it by edit, or by apply`,
          },
        ],
  );
  refuseViolations([...violations, ...taken]);
  if (isDryRun) {
    for (const line of planLines({ changes, violations }, call.output)) call.output.data(line);
    call.output.note("Nothing was made: this is what would be.");
    return exitCodes.done;
  }
  for (const { name, document } of changes) {
    if (document === null) continue;
    try {
      await resource.put(call, name, document.spec, reason);
    } catch (error) {
      const wrong = placed(error, resource, document);
      if (wrong !== null) refuseViolations(wrong);
      throw error;
    }
    call.output.printValue(
      { kind, name, action: "created" },
      () => [`${sanitize(name)}\tcreated`],
      () => [name],
    );
  }
  return exitCodes.done;
}

/** The sort of thing of that name. */
export function resourceOf(kind: string): Resource {
  const found = resources.find((one) => one.kind === kind);
  if (found === undefined) throw new Error(`files describe no ${kind}`);
  return found;
}
