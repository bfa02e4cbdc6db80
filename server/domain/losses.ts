import { call, type OrgTx } from "../store/statement.ts";
import { countLosses, noteLosses, quarantineWorkers } from "../store/worker-losses.ts";
import type { Coordinator } from "./context.ts";
import type { Fence } from "./leases.ts";
import { isLossy, lossWindowMs } from "./rules/liveness.ts";

/** The parts of a coordinator that judging workers needs. */
export type LossContext = Pick<Coordinator, "config" | "log" | "counters">;

/**
 * Notes the jobs that workers lose, in the transaction that ends the leases, and quarantines workers that lose
 * too many.
 *
 * @returns the workers that are to blame themselves: what they lose counts against no job.
 */
export async function blameWorkers(
  { config, log, counters }: LossContext,
  tx: OrgTx,
  lost: readonly Fence[],
): Promise<ReadonlySet<string>> {
  if (lost.length === 0) return new Set();
  const workers = [...new Set(lost.map((fence) => fence.workerId))];
  await tx.run(noteLosses(tx.orgId, lost));
  const rows = await tx.run(call(countLosses, { org: tx.orgId, workers, window: lossWindowMs }));
  const lossy = rows.filter((row) =>
    isLossy({ jobs: Number(row["jobs"]), times: Number(row["times"]) }, config.quarantineLosses),
  );
  const coming = lossy.filter((row) => row["quarantined"] !== true).map((row) => String(row["worker"]));
  if (coming.length > 0) {
    const reason = `it lost ${config.quarantineLosses} different jobs within 10 min`;
    const named = await tx.run(call(quarantineWorkers, { org: tx.orgId, workers: coming, reason }));
    for (const row of named) {
      log.error({ orgId: tx.orgId, worker: row["name"], reason }, "a worker is quarantined");
      counters.addOf(tx.orgId, "muster_quarantines_total", { cause: "losses" });
    }
  }
  const blamed = rows.filter((row) => row["quarantined"] === true || lossy.includes(row));
  return new Set(blamed.map((row) => String(row["worker"])));
}
