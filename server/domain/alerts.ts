import { type AlertRow, type DeliveryRow, readAlerts, readDeliveries } from "../store/alerts.ts";
import { readOrg } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import { nameViolations, slugRule } from "./rules/texts.ts";

/** One time that a group of a rule fired, with its messages. */
export interface AlertView extends AlertRow {
  readonly deliveries: readonly DeliveryRow[];
}

/** Messages that one alert shows at most. */
const mostDeliveries = 50;
/** Messages that a page reads at most. */
const mostRead = 5_000;

/** Lists alerts, newest first. */
export async function listAlerts(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  { rule, isFiring, ...page }: PageRequest & { readonly rule: string; readonly isFiring: boolean },
): Promise<Page<AlertView>> {
  const violations = rule === "" ? [] : nameViolations("rule", rule, slugRule);
  if (violations.length > 0) throw invalidArgument(violations);
  const identity: ListIdentity = { list: "alerts", orgId, filter: [rule, isFiring] };
  const limit = pageRows(page);
  const [before = null] = readPageToken(identity, page, [uuidForm]) ?? [];
  return readOrg(c.db.app, orgId, async (tx) => {
    const rows = await readAlerts(tx, orgId, { rule, isFiring, before, limit: limit + 1 });
    const ids = rows.slice(0, limit).map(({ alertId }) => alertId);
    const deliveries = ids.length === 0 ? [] : await readDeliveries(tx, orgId, ids, mostRead);
    return pageOf(
      rows,
      limit,
      identity,
      ({ alertId }) => [alertId],
      (row) => ({
        ...row,
        deliveries: deliveries.filter((one) => one.alertIds.includes(row.alertId)).slice(0, mostDeliveries),
      }),
    );
  });
}
