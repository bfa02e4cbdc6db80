import { measureBurndown } from "./burndown.ts";
import type { Flags } from "./flags.ts";
import { measureLatency, measureLoadedLatency } from "./latency.ts";
import { linksSettings, measureLinks } from "./links.ts";
import { measureLogs } from "./logs.ts";
import type { Measurement } from "./measurement.ts";
import { musterSystem } from "./muster.ts";
import { measurePinned } from "./pinned-xmin.ts";
import { measureRecovery } from "./recovery.ts";
import { benchScheduler } from "./scheduler.ts";
import { measureSoak } from "./soak.ts";
import { measureSubmit } from "./submit.ts";
import { measureSustained } from "./sustained.ts";
import type { Environment, FleetSize, System } from "./system.ts";
import { measureTenancy } from "./tenancy.ts";
import { measureTwoCoordinators } from "./two-coordinators.ts";

/** A workload that all systems go through. */
export type SideBySide = (environment: Environment, system: System, flags: Flags) => Promise<Measurement>;

/** A workload for Muster alone. */
export type Alone = (environment: Environment, flags: Flags) => Promise<object>;

/** Workers, slots and coordinators of Muster, as the flags say. */
export function fleetOf(flags: Flags): FleetSize {
  return {
    workers: flags.number("--workers", 100),
    slots: flags.number("--slots", 40),
    coordinators: flags.number("--coordinators", 1),
  };
}

/** Submits in batches of 1,000. */
export const submit: SideBySide = (environment, system, flags) => {
  const jobs = flags.number("--jobs", 200_000);
  return measureSubmit(environment, system, { workload: "submit", jobs, batch: 1_000, flights: 2 });
};

/** Submits one job a call. */
export const submitOneByOne: SideBySide = (environment, system, flags) => {
  const jobs = flags.number("--singles", 20_000);
  return measureSubmit(environment, system, { workload: "submit one by one", jobs, batch: 1, flights: 32 });
};

/** Works off a full line. */
export const burndown: SideBySide = (environment, system, flags) =>
  measureBurndown(environment, system, { jobs: flags.number("--jobs", 200_000) });

/** Submits and works at once. */
export const sustained: SideBySide = (environment, system, flags) =>
  measureSustained(environment, system, {
    seconds: flags.number("--seconds", 60),
    depth: flags.number("--depth", 20_000),
  });

/** One job after the other. */
export const latency: SideBySide = (environment, system, flags) =>
  measureLatency(environment, system, { samples: flags.number("--samples", 1_000) });

/** At half the sustained rate: that of `known`, else of `--rate`, else of a short measurement before. */
export function loadedLatency(known: readonly Measurement[] = []): SideBySide {
  return async (environment, system, flags) => {
    const depth = flags.number("--depth", 20_000);
    const seconds = Math.min(flags.number("--seconds", 30), 60);
    const of = known.find(({ key }) => key === system.key);
    const most =
      of?.jobsPerSecond ??
      (flags.has("--rate")
        ? 2 * flags.number("--rate", 0)
        : (await measureSustained(environment, system, { seconds: Math.min(seconds, 15), depth }))
            .jobsPerSecond);
    return measureLoadedLatency(environment, system, { seconds, perSecond: most / 2 });
  };
}

/** The workloads for Muster alone, by the words that start them. */
export const alone: Readonly<Record<string, Alone>> = {
  links: (environment, flags) =>
    measureLinks(environment, {
      links: flags.number("--links", 10_000),
      seconds: Math.min(flags.number("--seconds", 20), 60),
    }),
  logs: (environment, flags) =>
    measureLogs(environment, {
      jobs: flags.number("--log-jobs", 1_000),
      linesPerJob: flags.number("--lines", 500),
    }),
  recovery: (environment, flags) => measureRecovery(environment, { jobs: flags.number("--held", 200) }),
  chain: async (_, flags) => {
    const none = { ready: 0, blocked: 0, shapes: 0, explained: 0, workers: 4, slots: 4, log: () => {} };
    const { stepP50Ms, stepP99Ms } = await benchScheduler({ ...none, steps: flags.number("--steps", 200) });
    return { stepP50Ms, stepP99Ms };
  },
  "pinned-xmin": (environment, flags) =>
    measurePinned(environment, musterSystem, {
      seconds: flags.number("--pinned-seconds", 180),
      depth: flags.number("--depth", 20_000),
    }),
  "two-coordinators": (environment, flags) =>
    measureTwoCoordinators(environment, {
      seconds: Math.min(flags.number("--seconds", 30), 60),
      depth: flags.number("--depth", 20_000),
    }),
  tenancy: (environment, flags) =>
    measureTenancy(environment, {
      rounds: flags.number("--rounds", 3),
      seconds: Math.min(flags.number("--seconds", 20), 60),
      depth: flags.number("--depth", 20_000),
    }),
  soak: async (environment, flags) => {
    const depth = flags.number("--depth", 20_000);
    const rate = flags.has("--rate")
      ? flags.number("--rate", 0)
      : (await measureSustained(environment, musterSystem, { seconds: 15, depth })).jobsPerSecond / 2;
    return measureSoak(environment, { seconds: flags.number("--soak", 3_600), perSecond: rate });
  },
};

/** What a workload wants Postgres to be started with. */
export function settingsOf(workload: string): Record<string, string> {
  return workload === "links" ? linksSettings : {};
}
