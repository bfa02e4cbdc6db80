import { writeArray } from "./arrays.ts";
import type { Connection } from "./connection.ts";
import { HotPool } from "./hot-pool.ts";

/** What one use of the channel may take: a connection that is half-open is noticed after it. */
const timeoutMs = 3_000;

/**
 * The channel between the coordinators of a database: one connection that
 * listens and tells. It may lose what is told; who needs it polls as well.
 */
export class WakeChannel {
  readonly #pool: HotPool;
  #listening: Connection | undefined;

  /** @param heard called with each payload, our own too. */
  constructor(url: string, heard: (payload: string) => void) {
    this.#pool = new HotPool({
      url,
      name: "muster wake",
      timeoutMs,
      notified: heard,
      size: 1,
      isDrizzle: false,
    });
  }

  /** Resolves when the connection listens and has just answered. Call it every few seconds. */
  check(): Promise<void> {
    return this.#use(async ({ sql }) => {
      await sql.unsafe("select 1");
    });
  }

  /** Tells the payloads to all that listen, in one statement of its own. */
  tell(payloads: readonly string[]): Promise<void> {
    return this.#use(async ({ sql }) => {
      await sql.unsafe(`select pg_notify('${channel}', p) from unnest($1::text[]) p`, [writeArray(payloads)]);
    });
  }

  /** Ends the connection. */
  async close(): Promise<void> {
    await this.#pool.end(1);
  }

  #use(body: (connection: Connection) => Promise<void>): Promise<void> {
    return this.#pool.use(async (connection) => {
      if (this.#listening !== connection) {
        await connection.sql.unsafe(`listen ${channel}`);
        this.#listening = connection;
      }
      await body(connection);
    });
  }
}

const channel = "muster_wake";
