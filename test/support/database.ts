import { randomUUID } from "node:crypto";
import postgres from "postgres";
import { inject } from "vitest";
import { type Config, loadConfig } from "../../server/config.ts";
import type { Caller, Coordinator } from "../../server/domain/context.ts";
import { Counters } from "../../server/domain/counters.ts";
import { createIdGenerator } from "../../server/domain/ids.ts";
import { createProjectNames } from "../../server/domain/project-names.ts";
import { createSettingsCache } from "../../server/domain/settings.ts";
import { createSkillDocuments } from "../../server/domain/skill-documents.ts";
import { createSubmitBatcher } from "../../server/domain/submit.ts";
import { type Database, openDatabase, type Role } from "../../server/store/database.ts";
import { applyHotSettings, roleUrl } from "../../server/store/migrate.ts";
import { databaseUrl, onServer, templateName, testSecret } from "./postgres.ts";

/** A database of one test file, migrated, empty, with a clock that can be moved. */
export interface TestDatabase {
  /** For the superuser, whom row-level security does not bind. */
  readonly url: string;
  readonly urls: Readonly<Record<Role, string>>;
  readonly database: Database;
  /** Moves the clock that judges, and the ids of `newId`, ahead. */
  advanceClock(ms: number): Promise<void>;
  /** Milliseconds since 1970 by that clock. */
  nowMs(): number;
  /** A new UUIDv7, on that clock. */
  readonly newId: () => string;
  /** A new org. */
  orgId(): Promise<string>;
  /** Runs a query as the superuser: for what no role may do. */
  readonly admin: postgres.Sql;
  /** Closes the connections and drops the database. */
  close(): Promise<void>;
}

/** Makes a database from the run's template. Call it in `beforeAll`, and `close` in `afterAll`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = inject("postgresUrl");
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await onServer(server, `create database ${name} template ${templateName}`);
  const url = databaseUrl(server, name);
  const urls: Record<Role, string> = {
    muster_app: roleUrl(url, "muster_app", testSecret),
    muster_hot: roleUrl(url, "muster_hot", testSecret),
    muster_sweep: roleUrl(url, "muster_sweep", testSecret),
  };
  const admin = postgres(url, { max: 2, onnotice: () => {} });
  await applyHotSettings(admin);
  const database = openDatabase({ urls, appConnections: 6, hotConnections: 4 });
  let aheadMs = 0;
  const nowMs = () => Date.now() + aheadMs;
  const newId = createIdGenerator(nowMs);
  return {
    url,
    urls,
    database,
    admin,
    nowMs,
    newId,
    async advanceClock(ms) {
      aheadMs += ms;
      await admin`update muster.clock_offset set ahead = ${aheadMs}::float8 * interval '1 millisecond'`;
    },
    async orgId() {
      const orgId = newId();
      await admin`insert into muster.orgs (org_id, name) values (${orgId}, ${`org ${orgId}`})`;
      return orgId;
    },
    async close() {
      await database.close();
      await admin.end({ timeout: 5 });
      await onServer(server, `drop database ${name} with (force)`);
    },
  };
}

/** A wake of a test's coordinator: its name, its org, and its jobs. */
export type Woken = readonly [wake: keyof Coordinator["wakes"], orgId: string, jobIds?: readonly string[]];

/** A coordinator on a test database, with the default configuration and wakes that are written down. */
export interface TestCoordinator extends Coordinator {
  readonly woken: Woken[];
}

/** What a test may set itself. */
export interface CoordinatorOverrides extends Partial<Omit<Coordinator, "config">> {
  /** Single settings. */
  readonly config?: Partial<Config>;
}

/** Makes one. Submissions go to the database as they do in a coordinator. */
export function testCoordinator(
  test: Pick<TestDatabase, "database" | "newId" | "nowMs">,
  { config: settings, ...overrides }: CoordinatorOverrides = {},
): TestCoordinator {
  const woken: Woken[] = [];
  const { database, newId, nowMs } = test;
  const config = { ...testConfig(), ...settings };
  const wakes: Coordinator["wakes"] = {
    ready: (orgId) => woken.push(["ready", orgId]),
    released: (orgId) => woken.push(["released", orgId]),
    changed: (orgId, jobIds) => woken.push(["changed", orgId, jobIds]),
    cancel: (orgId) => woken.push(["cancel", orgId]),
    revoked: (orgId) => woken.push(["revoked", orgId]),
    command: (orgId) => woken.push(["command", orgId]),
    gates: (orgId) => woken.push(["gates", orgId]),
    routes: (orgId) => woken.push(["routes", orgId]),
  };
  return {
    coordinatorId: newId(),
    db: database,
    newId,
    nowMs,
    random: () => 0.5,
    wakes,
    counters: new Counters(),
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
    submits: createSubmitBatcher({
      hot: database.hot,
      newId,
      submitted: (orgId) => wakes.ready(orgId),
      released: (orgId) => wakes.released(orgId),
    }),
    settings: createSettingsCache({ db: database, config }),
    projects: createProjectNames({ db: database }),
    documents: createSkillDocuments({ db: database }),
    ...overrides,
    config,
    woken,
  };
}

/** The default configuration, whatever the environment of the tests. */
export function testConfig(): Config {
  return loadConfig({
    flags: {},
    env: { HOME: "/nonexistent" },
    readFile: (path) => {
      throw new Error(`a test reads no ${path}`);
    },
  });
}

/** A caller with every scope, unless told otherwise. */
export function testCaller(orgId: string, overrides: Partial<Caller> = {}): Caller {
  return {
    orgId,
    actor: "key:test",
    type: "api",
    keyId: "test",
    workerId: null,
    scopes: ["read", "submit", "work", "operate", "admin"],
    requestId: "req_test",
    ...overrides,
  };
}
