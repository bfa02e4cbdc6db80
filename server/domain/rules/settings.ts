/** The settings of a job that five levels can set, resolved. */
export interface JobSettings {
  /** How long a link may be silent before its leases are lost. */
  readonly reclaimAfterMs: number;
  /** Failures of the job's own after which it is dead. */
  readonly maxAttempts: number;
  readonly backoffInitialMs: number;
  readonly backoffMaxMs: number;
  readonly backoffFactor: number;
  /** The cap of one attempt, however lively it is. */
  readonly leaseTtlMs: number;
}

/** The name of one of the settings. */
export type JobSettingName = keyof JobSettings;

/** What one level says: a setting that is absent or undefined is inherited. */
export type PartialJobSettings = { readonly [Name in JobSettingName]?: number | undefined };

/** The levels, weakest first: each overrides those before it. */
export const settingLevels = ["server", "org", "queue", "kind", "job"] as const;

/** One of `settingLevels`. */
export type SettingLevel = (typeof settingLevels)[number];

/** What each level says; the server says everything. */
export interface SettingsByLevel {
  readonly server: JobSettings;
  readonly org?: PartialJobSettings | undefined;
  readonly queue?: PartialJobSettings | undefined;
  readonly kind?: PartialJobSettings | undefined;
  readonly job?: PartialJobSettings | undefined;
}

/** A value in force, and the level that it came from. */
export interface ResolvedSetting {
  readonly value: number;
  readonly from: SettingLevel;
}

/** Every setting in force, with its origin. */
export type ResolvedSettings = { readonly [Name in JobSettingName]: ResolvedSetting };

/** A setting that is out of bounds, and what it must be, to be read after its name. */
export interface SettingViolation {
  readonly setting: JobSettingName;
  readonly message: string;
}

/** The names of all settings. */
export const jobSettingNames: readonly JobSettingName[] = [
  "reclaimAfterMs",
  "maxAttempts",
  "backoffInitialMs",
  "backoffMaxMs",
  "backoffFactor",
  "leaseTtlMs",
];

/** Each setting from the strongest level that says anything about it. */
export function resolveSettings(levels: SettingsByLevel): ResolvedSettings {
  return {
    reclaimAfterMs: resolve(levels, "reclaimAfterMs"),
    maxAttempts: resolve(levels, "maxAttempts"),
    backoffInitialMs: resolve(levels, "backoffInitialMs"),
    backoffMaxMs: resolve(levels, "backoffMaxMs"),
    backoffFactor: resolve(levels, "backoffFactor"),
    leaseTtlMs: resolve(levels, "leaseTtlMs"),
  };
}

/** The resolved values alone. */
export function settingValues(resolved: ResolvedSettings): JobSettings {
  return {
    reclaimAfterMs: resolved.reclaimAfterMs.value,
    maxAttempts: resolved.maxAttempts.value,
    backoffInitialMs: resolved.backoffInitialMs.value,
    backoffMaxMs: resolved.backoffMaxMs.value,
    backoffFactor: resolved.backoffFactor.value,
    leaseTtlMs: resolved.leaseTtlMs.value,
  };
}

/**
 * What is wrong with the settings of one level, all at once; empty when nothing is. `heartbeatMs` is the server's
 * heartbeat: two of them must fit before a worker's leases are lost. A level that lowers only `backoffMaxMs` below
 * an inherited `backoffInitialMs` is right: the maximum wins.
 */
export function settingViolations(
  settings: PartialJobSettings,
  limits: { readonly heartbeatMs: number },
): SettingViolation[] {
  const violations: SettingViolation[] = [];
  for (const setting of jobSettingNames) {
    const value = settings[setting];
    const { min, max, whole, words } = bounds[setting];
    if (value === undefined) continue;
    if (!(value >= min && value <= max && (!whole || Number.isInteger(value)))) {
      violations.push({ setting, message: `must be ${words}` });
    }
  }
  const { reclaimAfterMs, backoffInitialMs, backoffMaxMs } = settings;
  if (reclaimAfterMs !== undefined && reclaimAfterMs < 2 * limits.heartbeatMs) {
    violations.push({
      setting: "reclaimAfterMs",
      message: `must be at least two heartbeats (${2 * limits.heartbeatMs}ms)`,
    });
  }
  if (backoffInitialMs !== undefined && backoffMaxMs !== undefined && backoffInitialMs > backoffMaxMs) {
    violations.push({ setting: "backoffInitialMs", message: "must not be above the longest backoff" });
  }
  return violations;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
  readonly words: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

const bounds: { readonly [Name in JobSettingName]: Bounds } = {
  reclaimAfterMs: { min: 1, max: dayMs, whole: true, words: "at most 24h" },
  maxAttempts: { min: 1, max: 100, whole: true, words: "a whole number from 1 to 100" },
  backoffInitialMs: { min: 0, max: dayMs, whole: true, words: "from 0s to 24h" },
  backoffMaxMs: { min: 0, max: 7 * dayMs, whole: true, words: "from 0s to 7d" },
  backoffFactor: { min: 1, max: 100, whole: false, words: "a number from 1 to 100" },
  leaseTtlMs: { min: 1_000, max: 7 * dayMs, whole: true, words: "from 1s to 7d" },
};

function resolve(levels: SettingsByLevel, name: JobSettingName): ResolvedSetting {
  for (const from of strongestFirst) {
    const value = levels[from]?.[name];
    if (value !== undefined) return { value, from };
  }
  return { value: levels.server[name], from: "server" };
}

const strongestFirst = ["job", "kind", "queue", "org"] as const;
