import { type BarGroup, barChart } from "./chart.ts";
import type { Measurement } from "./measurement.ts";
import { type Findings, judge } from "./targets.ts";

/** Where and when. */
export interface Place {
  /** As `2026-11-22`. */
  readonly date: string;
  /** Processors, memory, kernel. */
  readonly machine: string;
  /** Node, Postgres, Redis and the peers, with versions. */
  readonly versions: string;
  /** Workers and slots of Muster. */
  readonly fleet: string;
}

/** The report as Markdown; `chart` is the file beside it. */
export function reportText(place: Place, findings: Findings, chart: string): string {
  const workloads: readonly (readonly [string, string, readonly Measurement[] | undefined])[] = [
    [
      "Sustained",
      "Submitted and worked off at the same time, the line held at a depth. What counts is what the database says is done.",
      findings.sustained,
    ],
    [
      "Burndown",
      "A full line is worked off. The clock starts when the workers are told to start, their processes loaded but not connected, and stops when the database has nothing left.",
      findings.burndown,
    ],
    ["Submit in batches", "Batches of 1,000, two in flight, while nothing works.", findings.submit],
    ["Submit one by one", "One job a call, 32 calls in flight.", findings.submitOneByOne],
    [
      "Idle latency",
      "One job after the other: from before the submit to the start of its handler. Durable: until the database has nothing left.",
      findings.latency,
    ],
    ["Loaded latency", "A batch each 10 ms at half the system's own sustained rate.", findings.loadedLatency],
  ];
  const lines = [
    "# Benchmarks",
    "",
    `Made by \`npm run bench\` on ${place.date}: ${place.machine}. ${place.versions}.`,
    "",
    "All systems run one after the other in one run, with the same 100-byte payload, the same batch sizes and the same",
    "clock, on one fresh Postgres with fsync and synchronous_commit on (BullMQ: Redis). What submits and what works are",
    `processes of their own for every system. Muster is ${place.fleet}, over the network, with history, tenancy and`,
    "fencing on; the peers work inside the process that fetches. CPU is that of all processes, the database's too; peak RSS",
    "that of the Node processes together. Redis has no WAL: there it is what was appended to its file.",
    "",
    `![Jobs a second, and latencies](${chart})`,
    "",
    "## Targets",
    "",
    "| | target | measured | |",
    "|---|---|---|---|",
    ...judge(findings).map(
      ({ what, target, measured, isMet }) =>
        `| ${what} | ${target} | ${measured} | ${isMet === null ? "–" : isMet ? "met" : "**missed**"} |`,
    ),
  ];
  for (const [title, text, measurements] of workloads) {
    if (measurements === undefined || measurements.length === 0) continue;
    lines.push("", `## ${title}`, "", text, "", ...table(measurements));
  }
  const wal = findings.sustained?.find(({ key }) => key === "muster");
  if (wal?.wal) lines.push("", "## Where Muster's WAL goes (sustained)", "", ...walTable(wal));
  for (const [workload, figures] of Object.entries(findings.alone)) {
    lines.push("", `## ${workload}`, "", "| | |", "|---|---|");
    for (const [name, value] of Object.entries(figures)) lines.push(`| ${words(name)} | ${shown(value)} |`);
  }
  const all = workloads.flatMap(([, , measurements]) => measurements ?? []);
  const described = new Map(all.filter(isOfTheStore).map((one) => [one.name, one]));
  lines.push(
    "",
    "## What each system does",
    "",
    "| | clock stops when | durability | history |",
    "|---|---|---|---|",
  );
  for (const { name, stopsTheClock, durability, history } of described.values())
    lines.push(`| ${name} | ${stopsTheClock} | ${durability} | ${history} |`);
  return `${lines.join("\n")}\n`;
}

/** The chart of a report. */
export function reportChart(findings: Findings): string {
  const group = (
    title: string,
    unit: string,
    measurements: readonly Measurement[] | undefined,
    of: (one: Measurement) => number | null,
  ): readonly BarGroup[] => {
    const bars = (measurements ?? []).flatMap((one) => {
      const value = of(one);
      return value === null ? [] : [{ name: one.name, value, isOurs: one.key === "muster" }];
    });
    return bars.length === 0 ? [] : [{ title, unit, bars }];
  };
  const rate = ({ jobsPerSecond }: Measurement) => jobsPerSecond;
  return barChart([
    ...group("Sustained: submit and process together", "jobs/s", findings.sustained, rate),
    ...group("Burndown: a full line worked off", "jobs/s", findings.burndown, rate),
    ...group("Submit in batches of 1,000", "jobs/s", findings.submit, rate),
    ...group("Idle: submit to start, p50 (less is better)", "ms", findings.latency, ({ p50Ms }) => p50Ms),
    ...group(
      "Half rate: submit to start, p99 (less is better)",
      "ms",
      findings.loadedLatency,
      ({ p99Ms }) => p99Ms,
    ),
  ]);
}

// The submits stop their clock otherwise.
function isOfTheStore({ workload }: Measurement): boolean {
  return !workload.startsWith("submit");
}

function table(measurements: readonly Measurement[]): readonly string[] {
  const more = [...new Set(measurements.flatMap((one) => Object.keys(one.more)))];
  const head = [
    "",
    "jobs/s",
    "p50 ms",
    "p99 ms",
    "WAL B a job",
    "commits a job",
    "CPU µs a job",
    "peak RSS MiB",
    "jobs",
    ...more.map(words),
  ];
  const times = measurements.find(({ p50Ms }) => p50Ms !== null)?.timesAre;
  return [
    ...(times === undefined ? [] : [`Times: ${times}.`, ""]),
    `| ${head.join(" | ")} |`,
    `|${head.map(() => "---|").join("")}`,
    ...measurements.map((one) => {
      const cells = [
        one.key === "muster" ? `**${one.name}**` : one.name,
        ...[one.jobsPerSecond, one.p50Ms, one.p99Ms, one.walBytesPerJob, one.commitsPerJob].map(shown),
        ...[one.cpuMicrosPerJob, one.peakRssMb, one.jobs].map(shown),
        ...more.map((name) => shown(one.more[name] ?? null)),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  ];
}

function walTable({ wal, walBytesPerJob }: Measurement): readonly string[] {
  const bytes = walBytesPerJob ?? 0;
  const rows = (wal ?? []).filter(({ share }) => share >= 0.005);
  return [
    "By `pg_walinspect`, of the latest WAL of the run; images are pages written whole after a checkpoint.",
    "",
    "| | B a job | of which images |",
    "|---|---|---|",
    ...rows.map(
      ({ name, share, imageShare }) =>
        `| ${name} | ${Math.round(bytes * share)} | ${Math.round(bytes * imageShare)} |`,
    ),
  ];
}

function shown(value: number | null): string {
  if (value === null || Number.isNaN(value)) return "–";
  return value.toLocaleString("en-US", { maximumFractionDigits: 4 });
}

// `heartbeatP99Ms` → `heartbeat p99 ms`.
function words(name: string): string {
  return name.replace(/([A-Z][a-z]*\d*)/g, (word) => ` ${word.toLowerCase()}`).trim();
}
