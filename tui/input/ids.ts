import { Code, ConnectError } from "@connectrpc/connect";
import { type LookupCandidate, LookupType, SystemService } from "@muster/client/v1/system_service";
import type { Argument, Command, Option } from "commander";
import type { Call } from "../call.ts";
import { CliError, type Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";

/** A sort of thing that is named by its id on the command line. */
interface IdSort {
  readonly noun: string;
  readonly type: LookupType;
  /** What its ids begin with; undefined where they are any text. */
  readonly prefix?: string;
  /** It may be named by something else than its id, which only the coordinator knows. */
  readonly hasNames: boolean;
}

/** By the name that arguments and options give to their value: `<job>`, `--parent <job>`. */
const sorts: ReadonlyMap<string, IdSort> = new Map([
  ["job", { noun: "job", type: LookupType.JOB, prefix: "job", hasNames: false }],
  ["batch", { noun: "batch", type: LookupType.BATCH, prefix: "bat", hasNames: false }],
  ["worker", { noun: "worker", type: LookupType.WORKER, prefix: "wrk", hasNames: true }],
  ["session", { noun: "session", type: LookupType.SESSION, hasNames: true }],
]);

/**
 * Replaces parts of ids by the ids that they stand for, in arguments and options named `<job>`, `<batch>`, `<worker>`
 * and `<session>`: the beginning or the end of an id will do, with or without its prefix (`job_01jd9`, `8qkx2m`,
 * `…8QKX2M`). A whole id costs no call, and a name is never shortened. Throws AMBIGUOUS_ID with the candidates before
 * anything is done, and NOT_FOUND when there is nothing to take it for.
 */
export async function resolveIds(call: Call, command: Command, args: unknown[]): Promise<unknown[]> {
  const wrong: Violation[] = [];
  const resolveAll = async (given: unknown, sort: IdSort): Promise<unknown> => {
    if (typeof given === "string") {
      const found = await resolveId(call, given, sort, wrong);
      if (found === undefined) throw notFound(given, sort);
      return found;
    }
    if (!Array.isArray(given)) return given;
    const found: string[] = [];
    // Of several, one that is not there must not keep the others from being acted on: its own call says so.
    for (const one of given) found.push((await resolveId(call, String(one), sort, wrong)) ?? String(one));
    return found;
  };
  const resolved = [...args];
  for (const [at, argument] of command.registeredArguments.entries()) {
    const sort = sortOf(argument);
    if (sort !== undefined) resolved[at] = await resolveAll(args[at], sort);
  }
  for (const option of command.options) {
    const sort = sortOf(option);
    const name = option.attributeName();
    const given: unknown = command.getOptionValue(name);
    if (sort === undefined || given === undefined) continue;
    const found = await resolveAll(given, sort);
    // The action was handed the very object that this changes.
    if (found !== given) command.setOptionValueWithSource(name, found, command.getOptionValueSource(name));
  }
  if (wrong.length === 0) return resolved;
  throw new CliError("part of an id stands for more than one", {
    reason: "AMBIGUOUS_ID",
    exitCode: exitCodes.usage,
    suggestion: "Give more of the id.",
    violations: wrong,
  });
}

/** The name that an argument or option gives to its value: `job` of `--parent <job>`. */
export function valueName(of: Argument | Option): string {
  if ("registeredArguments" in of || !("flags" in of)) return of.name();
  return /[<[]([^>\].]+)/.exec(of.flags)?.[1] ?? "";
}

function sortOf(of: Argument | Option): IdSort | undefined {
  return sorts.get(valueName(of));
}

// Undefined when there is nothing that it could stand for.
async function resolveId(
  call: Call,
  given: string,
  sort: IdSort,
  wrong: Violation[],
): Promise<string | undefined> {
  const text = given.replace(/^(…|\.\.\.)|(…|\.\.\.)$/g, "").toLowerCase();
  if (!mayBePart(text, sort)) return given;
  const found = await lookUp(call, text, sort);
  if (found === undefined) return given;
  const [first] = found.candidates;
  if (found.candidates.some(({ id, label }) => id === given || (sort.hasNames && label === given)))
    return given;
  const parts = found.candidates.filter(({ id }) => isPart(text, id));
  const [only] = parts;
  if (only !== undefined && parts.length === 1 && !found.truncated) {
    call.output.note(`${given} is ${only.id}`);
    return only.id;
  }
  if (parts.length > 1 || (only !== undefined && found.truncated)) {
    wrong.push(...candidatesOf(given, parts, found.truncated));
    return given;
  }
  if (sort.hasNames || first !== undefined) return given;
  return undefined;
}

function notFound(given: string, { noun }: IdSort): CliError {
  return new CliError(`there is no ${noun} whose id begins or ends with ${JSON.stringify(given)}`, {
    reason: `${noun.toUpperCase()}_NOT_FOUND`,
    exitCode: exitCodes.notFound,
    suggestion: `Of older ones only the beginning is looked for; list them with: muster ${noun} list`,
  });
}

// A whole id needs no looking up, and what has other characters than ids have is a name.
function mayBePart(text: string, { prefix, hasNames }: IdSort): boolean {
  if (text === "") return false;
  if (prefix === undefined) return true;
  const [, own, rest = ""] = /^(?:([a-z]+)_)?(.*)$/.exec(text) ?? [];
  if (own !== undefined && own !== prefix) return false;
  if (rest.length >= idLength) return false;
  return own !== undefined || !hasNames || /^[0-9a-hjkmnp-tv-z]{4,}$/.test(rest);
}

const idLength = 26;

function isPart(text: string, id: string): boolean {
  const whole = id.toLowerCase();
  return whole.startsWith(text) || whole.endsWith(text) || whole.replace(/^[a-z]+_/, "").startsWith(text);
}

async function lookUp(
  call: Call,
  text: string,
  { type }: IdSort,
): Promise<{ readonly candidates: readonly LookupCandidate[]; readonly truncated: boolean } | undefined> {
  try {
    return await call.client(SystemService).lookup({ text, types: [type], limit: 20 }, call.once());
  } catch (error) {
    // An older coordinator, or a key that may not look: then it is for the call itself to judge.
    const { code } = ConnectError.from(error);
    if ([Code.Unimplemented, Code.PermissionDenied, Code.InvalidArgument, Code.NotFound].includes(code)) {
      return undefined;
    }
    throw error;
  }
}

function candidatesOf(given: string, parts: readonly LookupCandidate[], isTruncated: boolean): Violation[] {
  const shown = parts.map(({ id, label }) => ({
    field: given,
    message: label === "" ? id : `${id}  ${label}`,
  }));
  return isTruncated ? [...shown, { field: given, message: "and more" }] : shown;
}
