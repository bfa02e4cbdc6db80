import type { readFailingSchedules } from "../store/schedules.ts";
import { AttentionCause, type AttentionItem, AttentionSeverity } from "./rules/attention.ts";
import { shellWord } from "./rules/shell-words.ts";

/** Schedules whose jobs cannot be submitted. */
export function failingScheduleItems(
  rows: Awaited<ReturnType<typeof readFailingSchedules>>,
): AttentionItem[] {
  return rows.flatMap(({ name, failingAt, failureText, failures }) =>
    failingAt === null
      ? []
      : [
          {
            id: `schedule-failing ${name}`,
            cause: AttentionCause.scheduleFailing,
            severity: AttentionSeverity.warning,
            target: `schedule:${name}`,
            summary: `The schedule ${name} fires, and its job cannot be submitted: ${failureText}`,
            effect: `${failures} of its fire times made no job; it is tried again at the next`,
            fix: "Correct its job, or pause it; backfill what it left out",
            command: `muster schedule history ${shellWord(name)} --outcome failed`,
            since: failingAt,
            ...{ jobs: 0, jobIds: [] },
          },
        ],
  );
}
