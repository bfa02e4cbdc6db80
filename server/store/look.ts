import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { sql } from "./drizzle.ts";

/** What an org has to be done now. Each says that the sweep of its name may find something, or that it finds nothing. */
export interface OrgWork {
  /** Jobs whose time has come. */
  readonly isDue: boolean;
  /** Gates whose pause is over, or that hold nothing back. */
  readonly hasOpenGates: boolean;
  readonly hasUncountedGates: boolean;
  /** Ends of jobs that are yet to be taken to who depends on them. */
  readonly hasReleases: boolean;
  /** Ready jobs that may avoid workers. */
  readonly hasAvoids: boolean;
  /** Jobs whose deadline has passed. */
  readonly isOverdue: boolean;
  /** Workers, on any coordinator, hold leases. */
  readonly isLeased: boolean;
  /** Workers are attached to any coordinator. */
  readonly isLinked: boolean;
  readonly isReady: boolean;
  /** Commands that workers of links of this coordinator have not acknowledged. */
  readonly hasCommands: boolean;
  /** Leases of such workers that somebody wants cancelled. */
  readonly hasCancels: boolean;
  /** Ends of attempts that are yet to be folded into statistics. */
  readonly hasStats: boolean;
  /** Events that webhooks were not told yet, or deliveries that are due. */
  readonly hasWebhooks: boolean;
  /** Such workers that are disabled. */
  readonly disabled: readonly string[];
  /** Such workers that get no offers for another reason: see `readStanding`. */
  readonly heldBack: readonly string[];
  /** Schedules whose time has come. */
  readonly hasDueSchedules: boolean;
  /** Alert rules that are to be looked at, or messages of alerts that are to be sent. */
  readonly hasAlerts: boolean;
  /** Workers that fell silent, or are heard again, of which the event feed does not tell yet; false where it is not asked for. */
  readonly hasSilence: boolean;
  /** Ready jobs of built-in kinds that no worker who is heard of serves, in an org that may do something. */
  readonly wantsOwnWorker: boolean;
}

/** What one look saw. */
export interface Seen {
  /** Orgs that have something to be done, or links. */
  readonly orgs: ReadonlyMap<string, OrgWork>;
  /** In how many milliseconds a job, a gate or a schedule is due, by the database's clock; null: not soon. */
  readonly wakesInMs: number | null;
}

/** What a look asks. */
export interface LookOptions {
  readonly coordinatorId: string;
  /** As in `findUncounted`. */
  readonly youngMs: number;
  readonly oldMs: number;
  /** How far ahead `wakesInMs` looks. */
  readonly aheadMs: number;
  /** The age of a heartbeat that is late; null: `hasSilence` is not asked for. */
  readonly staleMs: number | null;
}

/** Looks at all orgs in one statement. For sweeps alone. */
export async function look(
  sweep: PostgresJsDatabase,
  { coordinatorId, youngMs, oldMs, aheadMs, staleMs }: LookOptions,
): Promise<Seen> {
  const rows = await sweep.execute(
    sql`select * from muster.look(${coordinatorId}::uuid, ${youngMs}::bigint, ${oldMs}::bigint, ${aheadMs}::bigint,
      ${staleMs}::bigint)`,
  );
  const wakes = rows.flatMap((row) => (row["wakes_in_ms"] === null ? [] : [Number(row["wakes_in_ms"])]));
  return {
    orgs: new Map(rows.map((row) => [String(row["org"]), workOf(row)])),
    wakesInMs: wakes.length > 0 ? Math.min(...wakes) : null,
  };
}

function workOf(row: Record<string, unknown>): OrgWork {
  const is = (name: string) => row[name] === true;
  const ids = (name: string) => (Array.isArray(row[name]) ? row[name].map(String) : []);
  return {
    isDue: is("is_due"),
    hasOpenGates: is("has_open_gates"),
    hasUncountedGates: is("has_uncounted_gates"),
    hasReleases: is("has_releases"),
    hasAvoids: is("has_avoids"),
    isOverdue: is("is_overdue"),
    isLeased: is("is_leased"),
    isLinked: is("is_linked"),
    isReady: is("is_ready"),
    hasCommands: is("has_commands"),
    hasCancels: is("has_cancels"),
    hasStats: is("has_stats"),
    hasWebhooks: is("has_webhooks"),
    disabled: ids("disabled"),
    heldBack: ids("held_back"),
    hasDueSchedules: is("has_due_schedules"),
    hasAlerts: is("has_alerts"),
    hasSilence: is("has_silence"),
    wantsOwnWorker: is("wants_own_worker"),
  };
}
