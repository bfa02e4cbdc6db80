import { z } from "zod";
import { inOrg } from "../store/database.ts";
import { readServing } from "../store/kinds.ts";
import { builtInKind } from "./built-in-kinds.ts";
import type { Caller, Coordinator } from "./context.ts";
import { kindScope } from "./kind-scopes.ts";

/** What is known of a kind beside its limits. */
export interface KindFacts {
  /** Null: it is not built in. */
  readonly builtIn: {
    readonly description: string;
    /** JSON Schema of the payload. */
    readonly payloadSchema: string;
    /** Null: when it is asked for. */
    readonly schedule: string | null;
    /** What submitting it asks for beside `submit`; null: nothing. */
    readonly scope: string | null;
  } | null;
  /** Connected workers that serve it, by name: the first 100. */
  readonly workers: readonly string[];
  readonly workerCount: number;
}

/** Tells who serves a kind, and of one that is built in what its payload is. */
export async function getKindFacts(
  { db }: Pick<Coordinator, "db">,
  caller: Pick<Caller, "orgId" | "isTenant">,
  kind: string,
): Promise<KindFacts> {
  const { orgId } = caller;
  const { names, count } = await inOrg(db.app, orgId, (tx) => readServing(tx, orgId, { kind, limit: 100 }));
  const known = builtInKind(kind);
  return {
    builtIn:
      known === undefined
        ? null
        : {
            description: known.description,
            payloadSchema: JSON.stringify(z.toJSONSchema(known.payload, { io: "input" })),
            schedule: known.schedule,
            scope: kindScope(caller, kind),
          },
    workers: names,
    workerCount: count,
  };
}
