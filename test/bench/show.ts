import type { Measurement } from "./measurement.ts";

/** A measurement as lines for people. */
export function showMeasurement(one: Measurement): string {
  const number = (value: number) => value.toLocaleString("en-US", { maximumFractionDigits: 4 });
  const cost = [
    one.walBytesPerJob === null
      ? ""
      : `${number(one.walBytesPerJob)} B of ${one.store === "redis" ? "AOF" : "WAL"} a job`,
    one.commitsPerJob === null ? "" : `${number(one.commitsPerJob)} commits a job`,
    one.cpuMicrosPerJob === null ? "" : `${number(one.cpuMicrosPerJob)} µs of CPU a job`,
    `peak RSS ${number(one.peakRssMb)} MiB`,
  ];
  const lines = [
    `${one.name} · ${one.workload}: ${number(one.jobsPerSecond)} jobs/s (${number(one.jobs)} in ${number(one.seconds)} s)`,
    `  clock stops when ${one.stopsTheClock}`,
    `  ${one.durability} · history: ${one.history}`,
    one.p50Ms === null
      ? ""
      : `  ${one.timesAre}: p50 ${number(one.p50Ms)} ms, p99 ${number(one.p99Ms ?? 0)} ms`,
    `  ${cost.filter((part) => part !== "").join(" · ")}`,
    ...Object.entries(one.more).map(([name, value]) => `  ${name} ${number(value)}`),
    ...(one.wal ?? [])
      .filter(({ share }) => share >= 0.005)
      .map(({ name, share, imageShare }) => walLine(one.walBytesPerJob ?? 0, name, share, imageShare)),
  ];
  return lines.filter((line) => line !== "").join("\n");
}

function walLine(bytes: number, name: string, share: number, imageShare: number): string {
  const images = imageShare < 0.005 ? "" : `, ${Math.round(bytes * imageShare)} of them page images`;
  return `    WAL ${String(Math.round(bytes * share)).padStart(6)} B  ${name}${images}`;
}
