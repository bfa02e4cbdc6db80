import { inOrg } from "../store/database.ts";
import { readFires, readSchedule } from "../store/schedules.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import type { FireOutcome } from "./rules/schedules.ts";
import { nameViolations, slugRule } from "./rules/texts.ts";
import { type FireView, fireViewsOf } from "./schedule-views.ts";
import { found } from "./schedules.ts";

/** Lists what became of the fire times of a schedule, newest first; null: whatever it was. */
export async function listFires(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  { name, outcome, ...page }: PageRequest & { readonly name: string; readonly outcome: FireOutcome | null },
): Promise<Page<FireView>> {
  const violations = nameViolations("name", name, slugRule);
  if (violations.length > 0) throw invalidArgument(violations);
  const identity: ListIdentity = { list: "fires", orgId, filter: [name, outcome] };
  const limit = pageRows(page);
  const [beforeMs] = readPageToken(identity, page, [/^\d{1,15}$/]) ?? [];
  const before = beforeMs === undefined ? null : new Date(Number(beforeMs));
  return inOrg(c.db.app, orgId, async (tx) => {
    const { scheduleId } = found(await readSchedule(tx, orgId, name), name);
    const rows = await readFires(tx, orgId, scheduleId, { outcome, before, limit: limit + 1 });
    const views = await fireViewsOf(tx, orgId, rows);
    return pageOf(
      views,
      limit,
      identity,
      (view) => [String(view.fireAt.getTime())],
      (view) => view,
    );
  });
}
