import type { Coordinator } from "../domain/context.ts";
import { internShape } from "../domain/rules/shapes.ts";
import { readReadyShapes, shapeOfRow } from "../store/ready-shapes.ts";
import { type Call, call, runInOrg } from "../store/statement.ts";
import { insertNewShapes } from "../store/submit.ts";
import { capableWorkers, promoteDue, reshapeReady, sweepRows } from "../store/sweeps.ts";

/** T3: makes jobs ready whose time has come, until none is left. Any coordinator; twice is harmless. */
export async function promoteDueJobs(c: Coordinator, orgId: string, signal: AbortSignal): Promise<void> {
  for (let more = true; more && !signal.aborted; ) {
    const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
      call(promoteDue, { org: orgId, limit: sweepRows, tally: c.newId() }),
    ]);
    more = rows.length === sweepRows;
    if (rows.length === 0) return;
    c.wakes.ready(orgId);
    c.wakes.changed(
      orgId,
      rows.map((row) => String(row["job"])),
    );
  }
}

/**
 * Lets go of what ready jobs avoid: when the cool-down of a worker is over,
 * or when no other attached worker could run them, on any coordinator.
 */
export async function lapseAvoids(c: Coordinator, orgId: string): Promise<void> {
  const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [call(readReadyShapes, { org: orgId })]);
  for (const shape of rows.map(shapeOfRow)) {
    if (shape.avoid.length === 0) continue;
    const { kind, points, skills } = shape;
    const [capable = []] = await runInOrg(c.db.sweepClient, orgId, [
      call(capableWorkers, { org: orgId, silent: c.config.staleMs, kind, points, skills }),
    ]);
    // Whom a job names it is not kept from for long: nobody else may run it.
    const isFree = shape.target === null;
    const others = isFree ? capable.filter((row) => !shape.avoid.includes(String(row["worker"]))) : [];
    const next = internShape({ ...shape, avoid: [] });
    const results = await runInOrg(c.db.sweepClient, orgId, [
      insertNewShapes(orgId, [next]),
      call(reshapeReady, {
        org: orgId,
        from: shape.shapeId.toString(),
        to: next.shapeId.toString(),
        due: others.length > 0,
        limit: sweepRows,
      }),
    ]);
    if ((results[1]?.length ?? 0) > 0) c.wakes.ready(orgId);
  }
}

/** Rows that one statement of retention drops: what fits well into the time of a use. */
export const dropRows = 10_000;

/** A statement that drops rows, so many at most. */
export function upTo(limit: number, { statement, values }: Call): Call {
  return call(statement, { ...values, limit });
}

/** Executes a statement that drops up to `limit` rows until none is left, in the sweeps' own role. */
export async function dropAll(c: Coordinator, orgId: string, one: Call, signal: AbortSignal): Promise<void> {
  for (let more = true; more && !signal.aborted; ) {
    const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [upTo(dropRows, one)]);
    more = rows.length === dropRows;
  }
}
