import type { Measurement } from "./measurement.ts";

/** A measurement of a test. */
export function measurement(overrides: Partial<Measurement>): Measurement {
  return {
    key: "muster",
    name: "Muster",
    store: "postgres",
    workload: "sustained",
    stopsTheClock: "the database has nothing left",
    durability: "fsync",
    history: "all",
    jobs: 1_000,
    seconds: 1,
    jobsPerSecond: 1_000,
    p50Ms: null,
    p99Ms: null,
    timesAre: "submit to start",
    walBytesPerJob: 1_500,
    commitsPerJob: 0.02,
    cpuMicrosPerJob: 50,
    peakRssMb: 300,
    wal: null,
    more: {},
    ...overrides,
  };
}
