import type { SQL } from "drizzle-orm";
import type { JobState } from "../domain/rules/states.ts";
import { sql } from "./drizzle.ts";

/** A state as a literal of a statement: partial indexes are found by literals alone. */
export function stateNumber(state: JobState): SQL {
  return sql.raw(String(state));
}

/** States as the list of an `in (…)`. */
export function stateNumbers(states: readonly JobState[]): SQL {
  return sql.raw(states.join(", "));
}
