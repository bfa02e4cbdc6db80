import { AlertCondition, AlertGroupBy, AlertSeverity } from "@muster/client/v1/alert_service";
import { usageError } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";

/** The words of an enum: its names in lower case with dashes, by their numbers; 0 is left out. */
export type Words<Value extends number> = ReadonlyMap<Value, string>;

/** What rules look at. */
export const conditionWords = wordsOf<AlertCondition>(AlertCondition);
/** How bad an alert is. */
export const severityWords = wordsOf<AlertSeverity>(AlertSeverity);
/** What is counted apart. */
export const groupWords = wordsOf<AlertGroupBy>(AlertGroupBy);

/** The word for a rule that says nothing of groups: by what its condition looks at. */
export const ownGroup = "own";

/** The value of a word; a usage error names those that there are. */
export function ofWord<Value extends number>(words: Words<Value>, word: string, what: string): Value {
  const found = [...words].find(([, one]) => one === word);
  if (found !== undefined) return found[0];
  const all = [...words.values()];
  throw usageError(
    `there is no ${what} ${JSON.stringify(word)}`,
    didYouMean(word, all) ?? `Use one of ${all.join(", ")}.`,
  );
}

function wordsOf<Value extends number>(names: Readonly<Record<string, string | number>>): Words<Value> {
  const pairs = Object.entries(names).flatMap(([name, value]) =>
    typeof value === "number" && value > 0
      ? [[asValue<Value>(value), name.toLowerCase().replaceAll("_", "-")] as const]
      : [],
  );
  return new Map(pairs);
}

// The numbers of the enum that was given are its values.
function asValue<Value extends number>(value: number): Value {
  return value as Value;
}
