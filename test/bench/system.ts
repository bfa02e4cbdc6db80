import type { BenchPostgres } from "./bench-postgres.ts";
import type { BenchRedis } from "./bench-redis.ts";
import type { Child } from "./child.ts";

/** How large what is measured is. */
export interface FleetSize {
  /** Workers of Muster; the peers have the concurrency that suits them. */
  readonly workers: number;
  /** Slots of each. */
  readonly slots: number;
  /** Coordinators, which share the workers evenly. */
  readonly coordinators: number;
}

/** What a run has. */
export interface Environment {
  readonly postgres: BenchPostgres;
  /** Undefined: there is none, and what needs it is left out. */
  readonly redis: BenchRedis | undefined;
  /** For state directories; goes with the run. */
  readonly folder: string;
  readonly fleet: FleetSize;
  readonly log: (line: string) => void;
}

/** A system that can be measured, and what its figures mean. */
export interface System {
  /** For flags. */
  readonly key: string;
  /** For people. */
  readonly name: string;
  readonly store: "postgres" | "redis";
  /** What the database says when all is done. */
  readonly stopsTheClock: string;
  readonly durability: string;
  readonly history: string;
  start(environment: Environment): Promise<RunningSystem>;
}

/** A system with its processes: what submits runs, what works is loaded and waits for `work`. */
export interface RunningSystem {
  readonly producer: Child;
  readonly consumers: readonly Child[];
  /** Servers of its own: the coordinators. */
  readonly servers: readonly Child[];
  /** The database of a Postgres system. */
  readonly databaseName: string | undefined;
  readonly databaseUrl: string | undefined;
  /** What works starts to; resolves when all of it does. */
  work(): Promise<void>;
  /** Jobs that are not durably done, as the database says. */
  left(): Promise<number>;
  /** Ends its processes; the database stays, and has counted all that they did. */
  halt(): Promise<void>;
  /** Ends it, and drops its database. */
  stop(): Promise<void>;
}
