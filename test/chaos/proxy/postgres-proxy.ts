import { type Random, seededRandom } from "../random.ts";
import { Counts, type FaultProxy } from "./fault-proxy.ts";
import { PostgresSession, terminationMessage } from "./postgres-session.ts";
import type { Filter, TcpConnection } from "./tcp-connection.ts";
import type { TcpFault } from "./tcp-faults.ts";
import { startTcpProxy, type TcpProxyOptions } from "./tcp-proxy.ts";

/** Harm at the level of Postgres; that of bytes can be done as well. */
export type PostgresFault =
  | TcpFault
  | {
      /**
       * The server has committed, and its answer to the COMMIT, with all that follows on the connection, never
       * comes. Which: each by itself with `chance` (default 1), after `skip` others, at most `limit` of them.
       */
      readonly kind: "swallow-commit";
      readonly chance?: number;
      readonly skip?: number;
      readonly limit?: number;
      /** Reset both sides, or leave the client with a connection that says nothing until the heal. */
      readonly leaving: "reset" | "half-open";
      /** Only connections of this role. */
      readonly user?: string;
    }
  | {
      /** A NOTIFY does not arrive, with `chance` (default 1). */
      readonly kind: "drop-notification";
      readonly chance?: number;
    }
  | {
      /** Says FATAL 57P01 to the clients and ends, at once. */
      readonly kind: "terminate";
      /** Only connections of this role. */
      readonly user?: string;
    };

/** What a proxy of Postgres needs. */
export type PostgresProxyOptions = Omit<TcpProxyOptions, "filter">;

/** Starts a proxy for connections to Postgres without TLS; a name of a connection is the role that logged in. */
export async function startPostgresProxy(options: PostgresProxyOptions): Promise<FaultProxy<PostgresFault>> {
  const { random = seededRandom(0) } = options;
  const rules = new Set<Rule>();
  const counts = new Counts();
  const tcp = await startTcpProxy({
    ...options,
    random: random.fork("tcp"),
    filter: (connection) => filterOf(connection, { rules, counts }),
  });
  return {
    ...tcp,
    counts: () => ({ ...tcp.counts(), ...counts.read() }),
    fault(plan) {
      switch (plan.kind) {
        case "swallow-commit":
        case "drop-notification": {
          const rule: Rule = { plan, random: random.fork(plan.kind), met: 0, struck: 0, silenced: new Set() };
          rules.add(rule);
          return () => {
            rules.delete(rule);
            for (const connection of rule.silenced) connection.reset();
          };
        }
        case "terminate":
          for (const connection of tcp.open) {
            if (plan.user !== undefined && plan.user !== connection.name) continue;
            counts.add("terminate");
            connection.inject(terminationMessage());
            connection.end();
          }
          return () => {};
        default:
          return tcp.fault(plan);
      }
    },
  };
}

/** A fault that waits for a message, and what became of it. */
interface Rule {
  readonly plan: Extract<PostgresFault, { kind: "swallow-commit" | "drop-notification" }>;
  readonly random: Random;
  met: number;
  struck: number;
  readonly silenced: Set<TcpConnection>;
}

function filterOf(
  connection: TcpConnection,
  { rules, counts }: { readonly rules: ReadonlySet<Rule>; readonly counts: Counts },
): Filter {
  const session = new PostgresSession();
  let isSilent = false;
  return {
    get name() {
      return session.user;
    },
    up: (chunk) => (isSilent ? [] : session.up(chunk)),
    down(chunk) {
      const passing: Buffer[] = [];
      for (const { bytes, says } of session.down(chunk)) {
        if (isSilent) break;
        const rule =
          says === "other" ? undefined : [...rules].find((one) => strikes(one, says, session.user));
        if (rule === undefined) passing.push(bytes);
        else {
          counts.add(rule.plan.kind);
          if (rule.plan.kind === "drop-notification") continue;
          isSilent = true;
          if (rule.plan.leaving === "half-open") rule.silenced.add(connection);
          else connection.reset();
        }
      }
      return passing;
    },
  };
}

function strikes(rule: Rule, says: "committed" | "notification", user: string): boolean {
  const { plan, random } = rule;
  if ((plan.kind === "swallow-commit") !== (says === "committed")) return false;
  if (plan.kind === "swallow-commit") {
    if (plan.user !== undefined && plan.user !== user) return false;
    rule.met += 1;
    if (rule.met <= (plan.skip ?? 0) || rule.struck >= (plan.limit ?? Number.POSITIVE_INFINITY)) return false;
  }
  if (!random.chance(plan.chance ?? 1)) return false;
  rule.struck += 1;
  return true;
}
