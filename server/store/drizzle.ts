import { createRequire } from "node:module";

/*
 * Drizzle, by way of `require`: its ES modules re-export each other in cycles,
 * which costs 240 MiB of memory and a third of a second at the start; the same
 * package as CommonJS takes 68 MiB. Types are those of the package.
 */
const load = createRequire(import.meta.url);
const orm: typeof import("drizzle-orm") = load("drizzle-orm");
const core: typeof import("drizzle-orm/pg-core") = load("drizzle-orm/pg-core");
const driver: typeof import("drizzle-orm/postgres-js") = load("drizzle-orm/postgres-js");
const migrations: typeof import("drizzle-orm/migrator") = load("drizzle-orm/migrator");
const migrator: typeof import("drizzle-orm/postgres-js/migrator") = load("drizzle-orm/postgres-js/migrator");

export const {
  Placeholder,
  and,
  asc,
  desc,
  eq,
  getTableColumns,
  getTableName,
  gt,
  gte,
  inArray,
  is,
  isNotNull,
  isNull,
  lt,
  lte,
  ne,
  or,
  sql,
} = orm;
export const {
  PgDialect,
  bigint,
  boolean,
  check,
  customType,
  date,
  doublePrecision,
  getTableConfig,
  index,
  integer,
  jsonb,
  PgTable,
  pgSchema,
  primaryKey,
  real,
  smallint,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} = core;
export const { drizzle } = driver;
export const { readMigrationFiles } = migrations;
export const { migrate } = migrator;
