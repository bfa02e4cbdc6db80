import type { Row } from "postgres";
import { type InternedShape, shapeTarget } from "../domain/rules/shapes.ts";
import { sql } from "./drizzle.ts";
import { queueNames as q, shapeNames as s } from "./names.ts";
import { jobQueue, shapes } from "./schema.ts";
import { param, statement } from "./statement.ts";

/**
 * The shapes that have ready jobs, found by skipping through the ready index:
 * one probe a shape, however many jobs wait. Parameters: org.
 */
export const readReadyShapes = statement(sql`
  with recursive found as (
    (select r.${q.shapeId} as id from ${jobQueue} r where r.${q.orgId} = ${param("org")}::uuid and r.${q.state} = 3
      order by r.${q.shapeId} limit 1)
    union all
    select (select r.${q.shapeId} from ${jobQueue} r where r.${q.orgId} = ${param("org")}::uuid and r.${q.state} = 3
      and r.${q.shapeId} > found.id order by r.${q.shapeId} limit 1)
    from found where found.id is not null
  )
  select h.${s.shapeId} as id, h.${s.kind} as kind, h.${s.queue} as queue, h.${s.skills} as skills,
    h.${s.points} as points, h.${s.pool} as pool, h.${s.project} as project, h.${s.target} as target, h.${s.avoid} as avoid, h.${s.alone} as alone,
    h.${s.accountedTo} as accounted_to, h.${s.schedule} as schedule
  from ${shapes} h where h.${s.orgId} = ${param("org")}::uuid
    and h.${s.shapeId} = any(array(select id from found where id is not null))`);

/** Reads a row of `readReadyShapes`. */
export function shapeOfRow(row: Row): InternedShape {
  return {
    shapeId: BigInt(String(row["id"])),
    kind: String(row["kind"]),
    queue: String(row["queue"]),
    skills: texts(row["skills"]),
    points: Number(row["points"]),
    pool: row["pool"] === null ? null : String(row["pool"]),
    project: row["project"] === null ? null : String(row["project"]),
    target: shapeTarget(row["target"] === null ? null : String(row["target"])),
    avoid: texts(row["avoid"]),
    isAlone: row["alone"] === true,
    accountedTo: row["accounted_to"] === null ? null : String(row["accounted_to"]),
    schedule: row["schedule"] === null ? null : String(row["schedule"]),
  };
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
