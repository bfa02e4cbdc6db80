import { type Database, inOrg } from "../store/database.ts";
import { readSkillDigests, readSkillNames } from "../store/skills.ts";
import { call, runInOrg } from "../store/statement.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, type Violation } from "./errors.ts";
import { isAnyTaken } from "./project-names.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import { nearestWord } from "./rules/spelling.ts";

/** A document as an offer names it. */
export interface NamedDocument {
  readonly skill: string;
  /** SHA-256 of the text, in hex; empty: there is no document of the skill. */
  readonly digest: string;
}

/** What a document takes in an offer at most, in bytes. */
export const documentBytes = 172;

/** What submits and offers ask for the documents of skills. */
export interface SkillDocuments {
  /** The documents of the org: digests by name. What another coordinator changed is known 5 s later. */
  digests(orgId: string): Promise<ReadonlyMap<string, string>>;
  /**
   * Those of these names that have no document, each with the name of one that is spelled most like it. A document that
   * was made anywhere counts at once.
   */
  unknown(orgId: string, names: ReadonlySet<string>): Promise<ReadonlyMap<string, string | undefined>>;
  /** Documents of the org were changed. */
  forget(orgId: string): void;
}

/** Makes what knows the documents of skills. `nowMs` is a clock that never goes back. */
export function createSkillDocuments(
  { db }: { readonly db: Pick<Database, "app" | "hot"> },
  nowMs: () => number = () => performance.now(),
): SkillDocuments {
  const kept = createCache<ReadonlyMap<string, string>>({ maxAgeMs: 5_000, maxEntries: 200, nowMs });
  const digests = (orgId: string) =>
    kept.get(orgId, async () => {
      const [rows = []] = await runInOrg(db.hot, orgId, [call(readSkillDigests, { org: orgId })]);
      return new Map(rows.map((row) => [String(row["name"]), String(row["digest"])]));
    });
  return {
    digests,
    async unknown(orgId, names) {
      const known = await digests(orgId);
      const missing = [...names].filter((name) => !known.has(name));
      if (missing.length === 0) return new Map();
      const found = new Set(await inOrg(db.app, orgId, (tx) => readSkillNames(tx, orgId, missing)));
      if (found.size > 0) kept.forget(orgId);
      const absent = missing.filter((name) => !found.has(name));
      return new Map(absent.map((name) => [name, nearestWord(name, [...known.keys()])]));
    },
    forget: kept.forget,
  };
}

/**
 * The documents of a lease, each once: those that its job names, in that order, also where there is none; then those that
 * its required skills have.
 */
export function documentsOf(
  digests: ReadonlyMap<string, string>,
  instructions: readonly string[],
  skills: readonly string[],
): NamedDocument[] {
  const named = new Set([...instructions, ...skills.filter((skill) => digests.has(skill))]);
  return [...named].map((skill) => ({ skill, digest: digests.get(skill) ?? "" }));
}

/**
 * Refuses a submission that names documents which are not there: SKILL_NOT_FOUND with every field that is wrong. One that
 * repeats an earlier one by its keys is let through, to be told what became of that.
 */
export async function requireDocuments(
  c: Pick<Coordinator, "db" | "documents">,
  { orgId }: Pick<Caller, "orgId">,
  jobs: readonly Pick<JobRequest, "instructions">[],
  { pathOf, keys }: { readonly pathOf: (index: number) => string; readonly keys: readonly string[] },
): Promise<void> {
  const names = new Set(jobs.flatMap(({ instructions }) => instructions));
  if (names.size === 0) return;
  const unknown = await c.documents.unknown(orgId, names);
  if (unknown.size === 0 || (await isAnyTaken(c, orgId, keys))) return;
  const violations = jobs.flatMap(({ instructions }, index) =>
    instructions.flatMap((name, place): Violation[] => {
      if (!unknown.has(name)) return [];
      const near = unknown.get(name);
      return [
        {
          field: `${pathOf(index)}.instructions[${place}]`,
          message: `names a skill without a document: ${name}${near === undefined ? "" : `; did you mean ${near}?`}`,
          reason: "SKILL_NOT_FOUND",
        },
      ];
    }),
  );
  const [first] = violations;
  const [name = "", near] = [...unknown][0] ?? [];
  const more = violations.length === 1 ? "" : ` (and ${violations.length - 1} more)`;
  throw new DomainError("SKILL_NOT_FOUND", {
    message: `${first?.field} ${first?.message}${more}`,
    details: { id: name },
    violations: violations.slice(0, violationsMax),
    suggestion:
      near === undefined
        ? `Put the document first: muster skill put ${name} -f SKILL.md.`
        : `Did you mean ${near}? If not, put it first: muster skill put ${name} -f SKILL.md.`,
  });
}

const violationsMax = 1_000;
