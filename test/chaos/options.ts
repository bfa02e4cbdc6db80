/** What `npm run chaos` is told. */
export interface ChaosOptions {
  /** Jobs to submit in all. */
  readonly jobs: number;
  /** The jobs are submitted over at least so long; faults go on as long. */
  readonly seconds: number;
  readonly seed: number;
  /** Worker processes, and jobs at once in each. */
  readonly workers: number;
  readonly slots: number;
  readonly coordinators: number;
  readonly clients: number;
  /** By how much the timers of the contract are shorter. */
  readonly scale: number;
  /** Which faults; all by default. */
  readonly faults: readonly FaultName[];
  /** Seconds between two short partitions. */
  readonly partitionEverySeconds: number;
  /** Seconds between two crashes of Postgres. */
  readonly postgresEverySeconds: number;
  /** Where the history goes; a temporary folder by default. */
  readonly folder: string | null;
  /** Keep the folder also when all was right. */
  readonly isKept: boolean;
  readonly isJson: boolean;
}

/** What can be switched on by `--faults`. */
export const faultNames = [
  "workers",
  "coordinators",
  "postgres",
  "backends",
  "commits",
  "partitions",
  "freezes",
  "resets",
  "frames",
  "drains",
] as const;

/** One of `faultNames`. */
export type FaultName = (typeof faultNames)[number];

/** The timers of the contract, scaled, in milliseconds. */
export interface Timers {
  readonly heartbeatMs: number;
  readonly staleMs: number;
  readonly reclaimAfterMs: number;
  readonly offerTtlMs: number;
  readonly outageGraceMs: number;
  readonly killGraceMs: number;
  readonly databaseTimeoutMs: number;
  readonly quarantineLosses: number;
}

/** design.md, 5: heartbeat 5 s, stale 15 s, reclaim_after 30 s, offer_ttl 10 s, outage grace 30 s, kill grace 10 s; a use of the database 6 s. */
export function timersOf({ scale }: Pick<ChaosOptions, "scale">): Timers {
  const scaled = (ms: number) => Math.round(ms / scale);
  return {
    heartbeatMs: scaled(5_000),
    staleMs: scaled(15_000),
    reclaimAfterMs: scaled(30_000),
    offerTtlMs: scaled(10_000),
    outageGraceMs: scaled(30_000),
    killGraceMs: scaled(10_000),
    databaseTimeoutMs: scaled(6_000),
    // Who is killed all the time is not to blame for it.
    quarantineLosses: 0,
  };
}

/** Reads the arguments. Throws with all that is wrong. */
export function readOptions(args: readonly string[]): ChaosOptions {
  const problems: string[] = [];
  const known = new Set([
    ...["--jobs", "--seconds", "--seed", "--workers", "--slots", "--coordinators", "--clients"],
    ...["--scale", "--faults", "--folder", "--partition-every", "--postgres-every"],
  ]);
  const values = new Map<string, string>();
  const switches = new Set<string>();
  for (let index = 0; index < args.length; index++) {
    const name = args[index] ?? "";
    if (name === "--json" || name === "--keep") switches.add(name);
    else if (!known.has(name)) problems.push(`${name} is unknown`);
    else values.set(name, args[++index] ?? "");
  }
  const number = (name: string, fallback: number, least: number, most: number): number => {
    const text = values.get(name);
    const value = text === undefined ? fallback : Number(text);
    if (text === "" || !Number.isFinite(value) || value < least || value > most) {
      problems.push(`${name} must be a number from ${least} to ${most}`);
    }
    return value;
  };
  const seconds = number("--seconds", 60, 1, 86_400);
  const options = {
    jobs: number("--jobs", 20_000, 1, 10_000_000),
    seconds,
    seed: number("--seed", 1, 0, 4_294_967_295),
    workers: number("--workers", 8, 2, 64),
    slots: number("--slots", 40, 1, 1_000),
    coordinators: number("--coordinators", 3, 1, 8),
    clients: number("--clients", 2, 1, 16),
    scale: number("--scale", 5, 1, 20),
    partitionEverySeconds: number("--partition-every", 5, 0.1, 86_400),
    postgresEverySeconds: number("--postgres-every", Math.max(15, seconds / 12), 5, 86_400),
    faults: readFaults(values.get("--faults"), problems),
    folder: values.get("--folder") ?? null,
    isKept: switches.has("--keep"),
    isJson: switches.has("--json"),
  };
  if (problems.length > 0) throw new Error(`chaos: ${problems.join("; ")}`);
  return options;
}

function readFaults(text: string | undefined, problems: string[]): FaultName[] {
  if (text === undefined) return [...faultNames];
  const names = text.split(",").filter((name) => name !== "" && name !== "none");
  return names.flatMap((name) => {
    const found = faultNames.find((one) => one === name);
    if (found === undefined) problems.push(`--faults knows ${faultNames.join(", ")}, not ${name}`);
    return found === undefined ? [] : [found];
  });
}
