import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { writeArray } from "./arrays.ts";
import { isNotNull, or, sql } from "./drizzle.ts";
import type { HeldLogin } from "./logins.ts";
import { orgs } from "./schema-fleet.ts";

/** What holds the streams of a coordinator. */
export interface StreamHolders {
  /** The orgs whose keys hold streams. */
  readonly orgIds: readonly string[];
  /** Keys that ended within so long are looked for. */
  readonly sinceMs: number;
  readonly logins: readonly HeldLogin[];
}

/** What of it is over. */
export interface EndedHolders {
  /** Keys that ended: revoked, run out, or their worker disabled. */
  readonly keyIds: ReadonlySet<string>;
  /** Logins that are no longer what they were: ended, or their person has another role in the org, or none. */
  readonly logins: readonly Pick<HeldLogin, "loginId" | "orgId" | "role">[];
  /** Orgs that may do nothing: suspended, or being removed. */
  readonly orgs: readonly { readonly orgId: string; readonly name: string; readonly isDeleted: boolean }[];
}

/** Finds all that has ended of what holds streams, in one statement. For sweeps alone. */
export async function readEndedHolders(
  sweep: PostgresJsDatabase,
  { orgIds, sinceMs, logins }: StreamHolders,
): Promise<EndedHolders> {
  const column = (name: keyof HeldLogin) => writeArray(logins.map((one) => one[name]));
  const rows = await sweep.execute(sql`
    select 'key' as sort, k.org as org, k.key as name, null::uuid as login, false as is_deleted
      from muster.ended_keys(${writeArray([...orgIds])}::uuid[], ${sinceMs}::bigint) k
    union all
    select 'login', l.member_org, l.held_role, l.login, false
      from muster.ended_logins(${column("homeOrgId")}::uuid[], ${column("loginId")}::uuid[],
        ${column("orgId")}::uuid[], ${column("role")}::text[]) l
    union all
    select 'org', ${orgs.orgId}, ${orgs.name}, null, ${orgs.deletedAt} is not null
      from ${orgs} where ${or(isNotNull(orgs.suspendedAt), isNotNull(orgs.deletedAt))}`);
  const of = (sort: string) => rows.filter((row) => row["sort"] === sort);
  return {
    keyIds: new Set(of("key").map((row) => String(row["name"]))),
    logins: of("login").map((row) => ({
      loginId: String(row["login"]),
      orgId: String(row["org"]),
      role: String(row["name"]),
    })),
    orgs: of("org").map((row) => ({
      orgId: String(row["org"]),
      name: String(row["name"]),
      isDeleted: row["is_deleted"] === true,
    })),
  };
}
