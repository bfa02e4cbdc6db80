import { jobStateWords } from "@muster/client/filter";
import type { SQL } from "drizzle-orm";
import type { Term, TextMatch } from "../domain/rules/filter.ts";
import type { FilterOperator } from "../domain/rules/filter-syntax.ts";
import { isLeased, isTerminal, JobState } from "../domain/rules/states.ts";
import { writeArray } from "./arrays.ts";
import { sql } from "./drizzle.ts";
import { attemptNames as a, clock, jobNames as j, queueNames as q } from "./names.ts";
import { attempts, deadLetters } from "./schema.ts";
import { names } from "./statement.ts";

const dl = names(deadLetters);

/** UUIDs from the first to the last one, both included. */
export interface IdRange {
  readonly first: string;
  readonly last: string;
}

/** A condition on jobs: a term whose ids are those of the store. */
export type JobTerm =
  | Exclude<Term, { readonly type: "id" }>
  | {
      readonly type: "ids";
      readonly key: "id" | "batch" | "parent";
      readonly isNegated: boolean;
      readonly any: readonly IdRange[];
    }
  | { readonly type: "worker"; readonly isNegated: boolean; readonly ids: readonly string[] };

/** The states that terms leave: null for any. */
export function statesOfTerms(terms: readonly JobTerm[]): readonly JobState[] | null {
  let left: readonly JobState[] | null = null;
  for (const term of terms) {
    if (term.type === "worker" && !term.isNegated) left = (left ?? allStates).filter(isLeased);
    if (isFingerprint(term)) left = (left ?? allStates).filter(isTerminal);
    if (term.type !== "word" || term.isNegated) continue;
    const named = new Set(term.any.flatMap((word) => jobStateWords[word] ?? []));
    left = (left ?? allStates).filter((state) => named.has(state));
  }
  return left;
}

/** True when a dead letter must be there. */
export function isFingerprint(term: JobTerm): boolean {
  return term.type === "text" && term.key === "fingerprint" && !term.isNegated;
}

/**
 * What terms ask of a row `d` of jobs, its live row `q`, and, with `hasPast`, the last attempt `l` of one that has
 * ended. Without `hasPast` the job is live.
 */
export function termConditions(orgId: string, terms: readonly JobTerm[], hasPast: boolean): SQL[] {
  return terms.map((term) => {
    const condition = termCondition(orgId, term, hasPast);
    return term.isNegated ? sql`(${condition}) is not true` : sql`(${condition})`;
  });
}

function termCondition(orgId: string, term: JobTerm, hasPast: boolean): SQL {
  const live = (ofLive: SQL, ofPast: SQL) =>
    hasPast ? sql`case when q.${q.jobId} is null then ${ofPast} else ${ofLive} end` : ofLive;
  switch (term.type) {
    case "free":
      return or([j.title, j.kind, j.externalId].map((column) => contains(sql`d.${column}`, term.text)));
    case "word":
      return or(term.any.map((word) => stateCondition(live(sql`q.${q.state}`, sql`l.${a.state}`), word)));
    case "worker":
      return sql`q.${q.workerId} = any(${writeArray(term.ids)}::uuid[])`;
    case "ids":
      return or(term.any.map((range) => inRange(idColumn(term.key), range)));
    case "pair":
      return or(term.any.map(({ name, value }) => matches(sql`d.${j.labels} ->> ${name}`, [value])));
    case "number":
      return compared(numberOf(term.key, live), term.operator, term.any);
    case "duration": {
      const before = sql`${clock} - ${term.ms}::float8 * interval '1 millisecond'`;
      // Older is earlier.
      return sql`d.${j.createdAt} ${sql.raw(turned[term.operator])} ${before}`;
    }
    case "text":
      switch (term.key) {
        case "skill":
          return hasSkill(term.any);
        case "session":
          return matches(live(sql`q.${q.sessionId}`, sql`l.${a.sessionId}`), term.any);
        case "error":
          return hasError(orgId, term.any);
        case "fingerprint":
          return sql`exists (select 1 from ${deadLetters} f where f.${dl.orgId} = ${orgId}::uuid
            and f.${dl.jobId} = d.${j.jobId} and (${matches(sql`f.${dl.fingerprint}`, term.any)}))`;
        default:
          return matches(textColumn(term.key), term.any);
      }
  }
}

const allStates: readonly JobState[] = Object.values(JobState);

const turned: Readonly<Record<FilterOperator, string>> = {
  ":": "=",
  ">": "<",
  ">=": "<=",
  "<": ">",
  "<=": ">=",
};

function stateCondition(state: SQL, word: string): SQL {
  const isOneOf = sql`${state} = any(${writeArray(jobStateWords[word] ?? [])}::int[])`;
  if (word === "retry") return sql`(${isOneOf} and q.${q.failures} > 0)`;
  if (word === "cancelling") return sql`(${isOneOf} and q.${q.cancelRequestedAt} is not null)`;
  return isOneOf;
}

function textColumn(key: string): SQL {
  if (key === "kind") return sql`d.${j.kind}`;
  if (key === "queue") return sql`d.${j.queue}`;
  if (key === "project") return sql`d.${j.project}`;
  if (key === "pool") return sql`d.${j.pool}`;
  if (key === "external") return sql`d.${j.externalId}`;
  throw new Error(`there is no column for the term ${key}`);
}

function idColumn(key: "id" | "batch" | "parent"): SQL {
  return sql`d.${key === "id" ? j.jobId : key === "batch" ? j.batchId : j.parentJobId}`;
}

function numberOf(key: string, live: (ofLive: SQL, ofPast: SQL) => SQL): SQL {
  if (key === "points") return sql`d.${j.points}`;
  if (key === "attempt") return live(sql`q.${q.attempt}`, sql`l.${a.attempt}`);
  if (key === "priority") return sql`coalesce(q.${q.priority}, d.${j.priority})`;
  throw new Error(`there is no number for the term ${key}`);
}

function compared(value: SQL, operator: FilterOperator, any: readonly number[]): SQL {
  if (operator === ":") return sql`${value} = any(${writeArray(any)}::int[])`;
  return sql`${value} ${sql.raw(operator)} ${any[0] ?? 0}::int`;
}

function inRange(column: SQL, { first, last }: IdRange): SQL {
  if (first === last) return sql`${column} = ${first}::uuid`;
  return sql`(${column} >= ${first}::uuid and ${column} <= ${last}::uuid)`;
}

function matches(value: SQL, any: readonly TextMatch[]): SQL {
  return or(
    any.map(({ text, isPrefix }) => {
      if (!isPrefix) return sql`${value} = ${text}::text`;
      return text === "" ? sql`${value} is not null` : sql`starts_with(${value}, ${text}::text)`;
    }),
  );
}

function hasSkill(any: readonly TextMatch[]): SQL {
  return sql`exists (select 1 from unnest(d.${j.skills}) s(name) where ${matches(sql`s.name`, any)})`;
}

// The error of the last attempt of the present run.
function hasError(orgId: string, any: readonly TextMatch[]): SQL {
  const texts = any.map(({ text, isPrefix }) =>
    isPrefix && text === ""
      ? sql`coalesce(e.${a.errorCode}, e.${a.errorMessage}, e.${a.errorDetail}) is not null`
      : or([contains(sql`e.${a.errorCode}`, text), contains(sql`e.${a.errorMessage}`, text)]),
  );
  return sql`exists (select 1 from (
      select e.* from ${attempts} e where e.${a.orgId} = ${orgId}::uuid and e.${a.jobId} = d.${j.jobId}
      order by e.${a.attempt} desc limit 1
    ) e where (q.${q.jobId} is null or e.${a.generation} = q.${q.generation}) and ${or(texts)})`;
}

function contains(value: SQL, text: string): SQL {
  return sql`strpos(lower(coalesce(${value}, '')), lower(${text}::text)) > 0`;
}

function or(conditions: readonly SQL[]): SQL {
  return conditions.length === 0 ? sql`false` : sql`(${sql.join([...conditions], sql` or `)})`;
}
