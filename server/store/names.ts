import { sql } from "./drizzle.ts";
import { attempts, batches, changes, jobKeys, jobQueue, jobs, shapes, tallies } from "./schema.ts";
import { links, orgs } from "./schema-fleet.ts";
import { edges, gates, sessions } from "./schema-routing.ts";
import { scheduleFires, schedules } from "./schema-schedules.ts";
import { names } from "./statement.ts";

/** Bare column names of the tables in hot statements. */
export const queueNames = names(jobQueue);
export const jobNames = names(jobs);
export const attemptNames = names(attempts);
export const batchNames = names(batches);
export const changeNames = names(changes);
export const keyNames = names(jobKeys);
export const shapeNames = names(shapes);
export const tallyNames = names(tallies);
export const linkNames = names(links);
export const orgNames = names(orgs);
export const gateNames = names(gates);
export const edgeNames = names(edges);
export const sessionNames = names(sessions);
export const scheduleNames = names(schedules);
export const fireNames = names(scheduleFires);

/** The database's clock. */
export const clock = sql`muster.muster_clock()`;

/** Stands for "no worker" in the parallel lists of the change feed. */
export const nilUuid = "00000000-0000-0000-0000-000000000000";
