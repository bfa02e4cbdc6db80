import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { compare, compareTimes } from "./comparison.ts";
import type { Flags } from "./flags.ts";
import type { Measurement } from "./measurement.ts";
import { type Place, reportChart, reportText } from "./report.ts";
import { measureSystems, systemsOf, withEnvironment } from "./side-by-side.ts";
import type { Environment } from "./system.ts";
import { type Findings, judge } from "./targets.ts";
import {
  alone,
  burndown,
  fleetOf,
  latency,
  loadedLatency,
  type SideBySide,
  settingsOf,
  submit,
  submitOneByOne,
  sustained,
} from "./workloads.ts";

/*
 * `npm run bench`: everything side by side, then what Muster alone is measured in, and the report in `docs/`. The soak
 * is part of it when `--soak SECONDS` says how long. A workload of Muster alone that fails is named and left out.
 */
export async function fullRun(
  flags: Flags,
  log: (line: string) => void,
): Promise<Readonly<Record<string, unknown>>> {
  const fleet = fleetOf(flags);
  const chosen = systemsOf(flags.text("--systems")?.split(",") ?? []);
  const side = await withEnvironment({ fleet, log, withRedis: true }, async (environment) => {
    const measure = (workload: SideBySide) =>
      measureSystems(environment, chosen, (system) => workload(environment, system, flags));
    const sustainedOnes = await measure(sustained);
    const found = {
      sustained: sustainedOnes,
      burndown: await measure(burndown),
      submit: await measure(submit),
      submitOneByOne: await measure(submitOneByOne),
      latency: await measure(latency),
      loadedLatency: await measure(loadedLatency(sustainedOnes)),
    };
    return { found, place: placeOf(environment) };
  });
  const figures: Record<string, Readonly<Record<string, number>>> = {};
  const findings: Findings = { ...side.found, alone: figures };
  for (const [name, measure] of Object.entries(alone)) {
    // What has been found is kept, whatever comes.
    writeReport(side.place, findings);
    if (name === "soak" && !flags.has("--soak")) continue;
    try {
      const options = { fleet, log, withRedis: false, settings: settingsOf(name) };
      const one = await withEnvironment(options, (environment) => measure(environment, flags));
      figures[name] = Object.fromEntries(Object.entries(one));
      log(`${name}: ${JSON.stringify(one)}`);
    } catch (error) {
      process.stderr.write(`bench: ${name} is left out: ${error}\n`);
      process.exitCode = 1;
    }
  }
  writeReport(side.place, findings);
  log("written: docs/benchmarks.md, docs/benchmarks.svg");
  return summaryOf(findings);
}

/** The last line: every comparison, the figures of Muster alone, and the targets. */
function summaryOf(findings: Findings): Readonly<Record<string, unknown>> {
  const known = (measurements: readonly Measurement[] | undefined) => measurements ?? [];
  return {
    sustained: compare(known(findings.sustained)),
    burndown: compare(known(findings.burndown)),
    submit: compare(known(findings.submit)),
    submitOneByOne: compare(known(findings.submitOneByOne)),
    latency: compareTimes(known(findings.latency)),
    loadedLatency: compareTimes(known(findings.loadedLatency)),
    ...findings.alone,
    targets: judge(findings),
  };
}

function writeReport(place: Place, findings: Findings): void {
  const file = (name: string) => fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
  writeFileSync(file("benchmarks.md"), reportText(place, findings, "benchmarks.svg"));
  writeFileSync(file("benchmarks.svg"), reportChart(findings));
}

function placeOf({ postgres, redis, fleet }: Environment): Place {
  const [processor] = cpus();
  const memory = Math.round(totalmem() / 1_073_741_824);
  const redisText = redis === undefined ? "no Redis" : `Redis ${redis.version}`;
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${processor?.model.trim() ?? "unknown processor"}, ${memory} GiB, ${process.platform} ${release()}`,
    versions: `Node ${process.versions.node}, Postgres ${postgres.version}, ${redisText}, ${peerVersions()}`,
    fleet: `${fleet.coordinators} coordinator and ${fleet.workers} workers of ${fleet.slots} slots`,
  };
}

function peerVersions(): string {
  const { devDependencies } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  );
  return ["graphile-worker", "pg-boss", "bullmq"]
    .map((name) => `${name} ${devDependencies[name]}`)
    .join(", ");
}
