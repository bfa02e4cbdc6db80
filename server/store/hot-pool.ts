import type { Sql } from "postgres";

/** A connection that is somebody's until it is given back. */
export interface HotConnection {
  /** A client of one connection: what it is given goes out in order. */
  readonly sql: Sql;
  release(): void;
}

/**
 * The connections of the flushes: clients of one connection each, so that a
 * whole transaction can be sent in one go. The driver's own reservation of a
 * connection never comes to an end on a new one that need not ask for types.
 * If the connection is lost in the middle, the rest goes to its successor,
 * where no org is set: row-level security refuses it.
 */
export class HotPool {
  readonly #all: readonly Sql[];
  readonly #idle: Sql[];
  readonly #waiting: ((sql: Sql) => void)[] = [];

  constructor(clients: readonly Sql[]) {
    this.#all = clients;
    this.#idle = [...clients];
  }

  /** Resolves with a connection of one's own, in the order of asking. */
  async acquire(): Promise<HotConnection> {
    const sql = this.#idle.pop() ?? (await new Promise<Sql>((resolve) => this.#waiting.push(resolve)));
    return { sql, release: () => this.#release(sql) };
  }

  /** Closes all connections, waiting up to `timeoutSeconds` for what runs. */
  async end(timeoutSeconds: number): Promise<void> {
    await Promise.all(this.#all.map((sql) => sql.end({ timeout: timeoutSeconds })));
  }

  #release(sql: Sql): void {
    const next = this.#waiting.shift();
    if (next) next(sql);
    else this.#idle.push(sql);
  }
}
