import { type Database, inOrg } from "../store/database.ts";
import { readProjectNames } from "../store/projects.ts";
import { call, transact } from "../store/statement.ts";
import { readKeys } from "../store/submit.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, type Violation } from "./errors.ts";
import { nearestWord } from "./rules/spelling.ts";

/** What submits ask for the projects of their jobs. */
export interface ProjectNames {
  /**
   * Those of these names that no project of the org has, each with the known name that is spelled most like it. A
   * project that was made anywhere counts at once; one that another coordinator deleted may count for 5 s.
   */
  unknown(orgId: string, names: ReadonlySet<string>): Promise<ReadonlyMap<string, string | undefined>>;
  /** The projects of the org were changed. */
  forget(orgId: string): void;
}

/** Makes what knows the names of projects. `nowMs` is a clock that never goes back. */
export function createProjectNames(
  { db }: { readonly db: Pick<Database, "app"> },
  nowMs: () => number = () => performance.now(),
): ProjectNames {
  const kept = createCache<ReadonlySet<string>>({
    maxAgeMs: 5_000,
    renewAfterMs: 2_500,
    maxEntries: 200,
    nowMs,
  });
  const read = (orgId: string, selection: Parameters<typeof readProjectNames>[2]) =>
    inOrg(db.app, orgId, (tx) => readProjectNames(tx, orgId, selection));
  return {
    async unknown(orgId, names) {
      const known = await kept.get(orgId, async () => new Set(await read(orgId, { limit: keptNamesMax })));
      const missing = [...names].filter((name) => !known.has(name));
      if (missing.length === 0) return new Map();
      const found = new Set(await read(orgId, { among: missing }));
      // Made since, or beyond those that are kept.
      if (found.size > 0 && known.size < keptNamesMax) kept.forget(orgId);
      const absent = missing.filter((name) => !found.has(name));
      return new Map(absent.map((name) => [name, nearestWord(name, [...known])]));
    },
    forget: kept.forget,
  };
}

/** A project that a job names, and where. */
export interface NamedProject {
  /** Path of the field, as in the proto3 JSON form. */
  readonly field: string;
  readonly name: string;
}

/**
 * Refuses a submission that names projects which do not exist: PROJECT_NOT_FOUND with every field that is wrong. One
 * that repeats an earlier one by its keys is let through, to be told what became of that.
 */
export async function requireProjects(
  c: Coordinator,
  caller: Caller,
  named: readonly NamedProject[],
  keys: readonly string[],
): Promise<void> {
  if (named.length === 0) return;
  const { orgId } = caller;
  const unknown = await c.projects.unknown(orgId, new Set(named.map((one) => one.name)));
  if (unknown.size === 0 || (await isAnyTaken(c, orgId, keys))) return;
  const wrong = named.filter((one) => unknown.has(one.name));
  const [first] = wrong;
  if (first === undefined) return;
  const nearest = unknown.get(first.name);
  const more = wrong.length === 1 ? "" : ` (and ${wrong.length - 1} more)`;
  throw new DomainError("PROJECT_NOT_FOUND", {
    message: `${first.field} names a project that does not exist: ${first.name}${more}`,
    details: { id: first.name },
    violations: wrong
      .slice(0, violationsMax)
      .map(({ field, name }) => violation(field, name, unknown.get(name))),
    suggestion:
      nearest === undefined
        ? `Create it first: muster project create ${first.name}.`
        : `Did you mean ${nearest}? If not, create it first: muster project create ${first.name}.`,
  });
}

const keptNamesMax = 5_000;
const violationsMax = 1_000;

function violation(field: string, name: string, nearest: string | undefined): Violation {
  const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
  return {
    field,
    message: `names a project that does not exist: ${name}${hint}`,
    reason: "PROJECT_NOT_FOUND",
  };
}

/** Whether an earlier submission has taken one of some keys. */
export async function isAnyTaken(
  c: Pick<Coordinator, "db">,
  orgId: string,
  keys: readonly string[],
): Promise<boolean> {
  if (keys.length === 0) return false;
  const types = ["idempotency", "external"];
  const rows = await transact(c.db.hot, orgId, (tx) => tx.run(call(readKeys, { org: orgId, types, keys })));
  return rows.length > 0;
}
