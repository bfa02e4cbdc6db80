import type { ArtifactStore } from "../outbound/artifact-store.ts";
import { dayLabel, dayStart } from "../store/partitions.ts";
import { type DayPartition, openRetention, type RetentionStore } from "../store/retention.ts";
import type { Told } from "./backups.ts";

/** What goes when. */
export interface RetentionPolicy {
  /** Jobs, history, dead letters, files: so many days after the jobs were submitted. */
  readonly jobsDays: number;
  /** Logs, partial results and messages; null: with their jobs. */
  readonly logsDays: number | null;
  /** Say what would go. */
  readonly isDryRun: boolean;
}

/** A day of a table. */
export interface RetainedDay {
  readonly table: string;
  readonly day: string;
}

/** What went, or would. */
export interface RetentionResult {
  readonly isDryRun: boolean;
  readonly dropped: readonly (RetainedDay & { readonly rows: number })[];
  /** Days that are old enough and stay, each with why. */
  readonly kept: readonly (RetainedDay & { readonly why: string })[];
  /** Files of artifacts that went. */
  readonly files: number;
}

/** What retention works with. */
export interface RetentionContext {
  readonly ownerUrl: string;
  readonly sweepUrl: string;
  readonly artifacts: Pick<ArtifactStore, "delete">;
}

/**
 * Drops whole days: no row is deleted one by one, and nobody waits. A day goes when nothing that lives points into it:
 * no job of it that has not ended, none that one depends on that waits. It is taken out first and looked at again, so
 * that a job that was given another run meanwhile brings its day back. What broke off is finished by the next pass.
 */
export async function keepToPolicy(
  c: RetentionContext,
  policy: RetentionPolicy,
  { signal, told }: { readonly signal: AbortSignal; readonly told: Told },
): Promise<RetentionResult> {
  const store = openRetention(c, signal);
  try {
    const now = await store.now();
    const jobsBefore = daysBefore(now, policy.jobsDays);
    const partitions = await store.partitions();
    const orgIds = await store.orgs();
    const needed = await neededDays(store, orgIds, jobsBefore);
    const result = { isDryRun: policy.isDryRun, dropped: [] as Dropped[], kept: [] as Kept[], files: 0 };
    const old = partitions.filter(({ table, day }) => table !== logs && day < jobsBefore);
    const days = [...new Set(old.map(({ day }) => day))].sort();
    for (const [index, day] of days.entries()) {
      signal.throwIfAborted();
      told(index / Math.max(days.length, 1), day);
      const ofDay = old.filter((one) => one.day === day);
      const why = needed.get(day) ?? (await dropDay(c, store, { orgIds, ofDay, day, result, policy }));
      if (why !== null) result.kept.push(...ofDay.map(({ table }) => ({ table, day, why })));
    }
    const oldestKept = result.kept.map(({ day }) => day).sort()[0] ?? jobsBefore;
    const logsBefore = policy.logsDays === null ? oldestKept : daysBefore(now, policy.logsDays);
    for (const partition of partitions.filter(({ table, day }) => table === logs && day < logsBefore)) {
      signal.throwIfAborted();
      if (!policy.isDryRun) await dropOne(store, partition);
      result.dropped.push(shown(partition));
    }
    if (!policy.isDryRun) {
      for (const orgId of orgIds) await store.removeBatches(orgId, dayStart(oldestKept));
    }
    return result;
  } finally {
    await store.close();
  }
}

type Dropped = RetentionResult["dropped"][number];
type Kept = RetentionResult["kept"][number];

const logs = "log_chunks";
const filesAtOnce = 100;

// The last day that is whole before so many days.
function daysBefore(now: Date, days: number): string {
  return dayLabel(new Date(now.getTime() - days * 86_400_000));
}

async function neededDays(
  store: RetentionStore,
  orgIds: readonly string[],
  upTo: string,
): Promise<ReadonlyMap<string, string>> {
  const all = new Map<string, string>();
  for (const orgId of orgIds) for (const [day, why] of await store.neededDays(orgId, upTo)) all.set(day, why);
  return all;
}

/** Null: it is gone, or would be. Else why it stays. */
async function dropDay(
  c: RetentionContext,
  store: RetentionStore,
  of: {
    readonly orgIds: readonly string[];
    readonly ofDay: readonly DayPartition[];
    readonly day: string;
    readonly result: { readonly dropped: Dropped[]; files: number };
    readonly policy: RetentionPolicy;
  },
): Promise<string | null> {
  const { orgIds, ofDay, day, result, policy } = of;
  if (!policy.isDryRun) {
    const jobs = ofDay.find(({ table }) => table === "jobs");
    if (jobs?.isAttached) {
      await store.detach(jobs);
      const nextDay = dayLabel(new Date(dayStart(day).getTime() + 86_400_000));
      const why = (await neededDays(store, orgIds, nextDay)).get(day);
      if (why !== undefined) {
        await store.attach(jobs);
        return why;
      }
    }
    for (const orgId of orgIds) {
      result.files += await removeFiles(c, store, orgId, day);
      await store.removeRest(orgId, day);
    }
    for (const partition of ofDay) {
      await dropOne(store, partition === jobs ? { ...partition, isAttached: false } : partition);
    }
  }
  result.dropped.push(...ofDay.map(shown));
  return null;
}

async function dropOne(store: RetentionStore, partition: DayPartition): Promise<void> {
  await store.detach(partition);
  await store.drop(partition);
}

async function removeFiles(
  { artifacts }: Pick<RetentionContext, "artifacts">,
  store: RetentionStore,
  orgId: string,
  day: string,
): Promise<number> {
  for (let gone = 0; ; ) {
    const files = await store.files(orgId, day, filesAtOnce);
    if (files.length === 0) return gone;
    await Promise.all(files.map((key) => artifacts.delete(key)));
    await store.removeFiles(
      orgId,
      files.map(({ artifactId }) => artifactId),
    );
    gone += files.length;
  }
}

function shown({ table, day, rows }: DayPartition): Dropped {
  return { table, day, rows };
}
