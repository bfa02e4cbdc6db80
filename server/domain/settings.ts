import { type Database, inOrg } from "../store/database.ts";
import {
  readAllSettings,
  readSettings,
  replaceSettings,
  type SettingsKey,
  type SettingsRow,
} from "../store/settings.ts";
import { audit } from "./audit.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import {
  type JobSettingName,
  type JobSettings,
  jobSettingNames,
  type PartialJobSettings,
  resolveSettings,
  settingValues,
  settingViolations,
} from "./rules/settings.ts";
import { nameViolations, slugRule } from "./rules/texts.ts";

/** Whose settings. */
export type SettingsScope =
  | { readonly scope: "org" }
  | { readonly scope: "queue"; readonly name: string }
  | { readonly scope: "kind"; readonly name: string };

/** Where each setting stands in a message, from the message that holds them all. */
export const settingFields: { readonly [Name in JobSettingName]: string } = {
  reclaimAfterMs: "reclaimAfter",
  maxAttempts: "retry.maxAttempts",
  backoffInitialMs: "retry.backoffInitial",
  backoffMaxMs: "retry.backoffMax",
  backoffFactor: "retry.backoffFactor",
  leaseTtlMs: "leaseTtl",
};

/** What a scope sets itself; what it does not is absent. */
export async function getSettings(
  c: Coordinator,
  caller: Caller,
  scope: SettingsScope,
): Promise<PartialJobSettings> {
  const key = settingsKey(scope);
  const row = await inOrg(c.db.app, caller.orgId, (tx) => readSettings(tx, caller.orgId, key));
  return row === null ? {} : partial(row);
}

/** Replaces what a scope sets; what is absent is inherited from now on. Jobs that exist keep what they have. */
export async function putSettings(
  c: Coordinator & { readonly settings: Pick<SettingsCache, "forget"> },
  caller: Caller,
  scope: SettingsScope,
  given: PartialJobSettings,
): Promise<PartialJobSettings> {
  const key = settingsKey(scope);
  const violations = settingViolations(given, { heartbeatMs: c.config.heartbeatMs });
  if (violations.length > 0) {
    throw invalidArgument(
      violations.map(({ setting, message }) => ({ field: `settings.${settingFields[setting]}`, message })),
    );
  }
  const { orgId } = caller;
  const row = rowOf(given);
  await inOrg(c.db.app, orgId, async (tx) => {
    const before = await readSettings(tx, orgId, key);
    await replaceSettings(tx, orgId, key, row);
    await audit(tx, c, caller, {
      action: "settings.put",
      target: key.scope === "org" ? "org" : `${key.scope}:${key.name}`,
      details: { before: before === null ? {} : partial(before), after: partial(row) },
    });
  });
  c.settings.forget(orgId);
  return partial(row);
}

/** All settings of an org. */
export interface SettingsTable {
  readonly org: PartialJobSettings | undefined;
  readonly queues: ReadonlyMap<string, PartialJobSettings>;
  readonly kinds: ReadonlyMap<string, PartialJobSettings>;
}

/** Reads them. */
export async function loadSettings(db: Database["app"], orgId: string): Promise<SettingsTable> {
  const rows = await inOrg(db, orgId, (tx) => readAllSettings(tx, orgId));
  const of = (scope: SettingsKey["scope"]) =>
    new Map(rows.filter((row) => row.scope === scope).map((row) => [row.name, partial(row)]));
  return { org: of("org").get(""), queues: of("queue"), kinds: of("kind") };
}

/** What submits ask for the settings of their jobs. */
export interface SettingsCache {
  /**
   * The settings in force for a job; `job` is what it says itself. Read from the database at most once a
   * second an org; what this coordinator changed itself counts at once.
   */
  resolve(
    orgId: string,
    of: { readonly queue: string; readonly kind: string; readonly job: PartialJobSettings },
  ): Promise<JobSettings>;
  /** All settings of the org, as fresh: for many jobs of one call. */
  table(orgId: string): Promise<SettingsTable>;
  /** The settings of the org were changed. */
  forget(orgId: string): void;
}

/** Makes the cache. `nowMs` is a clock that never goes back. */
export function createSettingsCache(
  c: Pick<Coordinator, "db" | "config">,
  nowMs: () => number = () => performance.now(),
): SettingsCache {
  const tables = createCache<SettingsTable>({
    maxAgeMs: 1_000,
    renewAfterMs: 500,
    maxEntries: 1_000,
    nowMs,
  });
  const table = (orgId: string) => tables.get(orgId, () => loadSettings(c.db.app, orgId));
  return {
    table,
    async resolve(orgId, of) {
      return resolveForJob(c.config, await table(orgId), of);
    },
    forget: tables.forget,
  };
}

/** The settings in force for a job, of the server's, the org's, its queue's, its kind's and its own. */
export function resolveForJob(
  server: JobSettings,
  table: SettingsTable,
  { queue, kind, job }: { readonly queue: string; readonly kind: string; readonly job: PartialJobSettings },
): JobSettings {
  const levels = { server, org: table.org, queue: table.queues.get(queue), kind: table.kinds.get(kind), job };
  return settingValues(resolveSettings(levels));
}

function settingsKey(scope: SettingsScope): SettingsKey {
  if (scope.scope === "org") return { scope: "org", name: "" };
  const violations: Violation[] = nameViolations(`scope.${scope.scope}`, scope.name, slugRule);
  if (violations.length > 0) throw invalidArgument(violations);
  return scope;
}

function rowOf(given: PartialJobSettings): SettingsRow {
  return {
    reclaimAfterMs: given.reclaimAfterMs ?? null,
    maxAttempts: given.maxAttempts ?? null,
    backoffInitialMs: given.backoffInitialMs ?? null,
    backoffMaxMs: given.backoffMaxMs ?? null,
    backoffFactor: given.backoffFactor ?? null,
    leaseTtlMs: given.leaseTtlMs ?? null,
  };
}

function partial(row: SettingsRow): PartialJobSettings {
  const set = jobSettingNames.filter((name) => row[name] !== null);
  return Object.fromEntries(set.map((name) => [name, row[name] ?? undefined]));
}
