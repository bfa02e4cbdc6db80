/** Names of the three workers. */
export const workerNames = ["worker-1", "worker-2", "worker-3"] as const;

/** Jobs that a worker of the demo runs at once. */
export const slotsPerWorker = 4;

/** The demo gives up after this long; what is left of the two minutes is for cleaning up. */
export const workLimitMs = 100_000;

/** After this long everything is killed, whatever it is doing. */
export const hardLimitMs = 120_000;

/** Peak memory of the coordinator that the demo is to stay under. */
export const targetPeakBytes = 250 * 1024 * 1024;

/**
 * Settings of the coordinator that differ from their defaults, by flag: a killed worker's jobs are taken over
 * after 4 s instead of 30 s, and a coordinator that has just begun trusts silence after 2 s instead of 30 s.
 */
export const coordinatorFlags: Readonly<Record<string, string>> = {
  heartbeat: "1s",
  stale: "3s",
  "reclaim-after": "4s",
  "outage-grace": "2s",
};

/**
 * Of the coordinator's Node. By default V8 lets the young generation of a machine with much memory grow to nearly
 * 200 MiB; this bounds it to three times 16 MiB. And it collects the old generation first when that has grown to some
 * 250 MiB, of which 60 are in use here; this lets it begin at once, and go by what is in use.
 */
export const coordinatorRuntimeFlags: readonly string[] = [
  "--max-semi-space-size=16",
  "--initial-old-space-size=32",
];

/** The flags as they would be typed. */
export function flagsText(): string {
  return Object.entries(coordinatorFlags)
    .map(([flag, value]) => `--${flag} ${value}`)
    .join(" ");
}
