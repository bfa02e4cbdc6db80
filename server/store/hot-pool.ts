import { Connection, ConnectionLostError, type ConnectionOptions } from "./connection.ts";
import { isConnectionLost, isStatementTimeout } from "./connection-errors.ts";
import { drizzle } from "./drizzle.ts";

/** Somebody who waits for a connection. */
interface Waiting {
  readonly resolve: (connection: Connection) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * A fixed number of connections, each somebody's alone while it is in use, so
 * that a whole transaction can be sent in one go. Every use comes to an end,
 * whatever the other side does: a connection that falls silent is cut, and one
 * that was lost is replaced by the next use.
 *
 * A server that is only slow keeps its connections: it ends a statement itself
 * that takes longer than one may, and says so before the silence counts. A new
 * connection would have to prepare all statements again, and an overload that
 * cuts connections feeds itself.
 */
export class HotPool {
  readonly #options: ConnectionOptions & { readonly isDrizzle: boolean };
  readonly #open = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #waiting: Waiting[] = [];
  #free: number;
  #isEnded = false;
  #uses = 0;

  /** @param options `isDrizzle`: rows are read as Drizzle expects them. */
  constructor(options: ConnectionOptions & { readonly size: number; readonly isDrizzle: boolean }) {
    this.#options = options;
    this.#free = options.size;
  }

  /** How many uses have ended. */
  get uses(): number {
    return this.#uses;
  }

  /**
   * Runs the body on a connection of its own, in the order of asking. Rejects
   * when none is free for half the time that a statement may take, when a
   * statement takes longer than that, and when nothing is heard for one and a
   * half times as long.
   */
  async use<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#take();
    const { timeoutMs } = this.#options;
    const silenceMs = 1.5 * timeoutMs;
    let isSilent = false;
    let heardBytes = connection.bytesRead;
    let heardMs = performance.now();
    const look = () => {
      const nowMs = performance.now();
      if (connection.bytesRead !== heardBytes) {
        heardBytes = connection.bytesRead;
        heardMs = nowMs;
      }
      isSilent = nowMs - heardMs >= silenceMs;
      if (isSilent) connection.cut();
      else timer = setTimeout(look, timeoutMs / 4);
    };
    let timer = setTimeout(look, timeoutMs / 4);
    try {
      return await body(connection);
    } catch (cause) {
      if (isConnectionLost(cause) && !isStatementTimeout(cause)) connection.cut();
      if (isConnectionLost(cause) && !connection.hasSpoken) {
        throw new ConnectionLostError("no connection to the database could be made", {
          cause,
          code: "CONNECT_FAILED",
        });
      }
      if (!isSilent) throw cause;
      throw new ConnectionLostError(`the database said nothing for ${silenceMs} ms`, { cause });
    } finally {
      clearTimeout(timer);
      this.#uses++;
      this.#release(connection);
    }
  }

  /** Closes all connections, waiting up to `timeoutSeconds` for what runs. */
  async end(timeoutSeconds: number): Promise<void> {
    this.#isEnded = true;
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(new ConnectionLostError("the connections are closed"));
    }
    await Promise.all([...this.#open].map((connection) => connection.close(timeoutSeconds)));
  }

  #take(): Promise<Connection> {
    if (this.#isEnded) return Promise.reject(new ConnectionLostError("the connections are closed"));
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve(this.#next());
    }
    const waitMs = this.#options.timeoutMs / 2;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(
          new ConnectionLostError(`no connection to the database was free within ${waitMs} ms`, {
            code: "CONNECTION_BUSY",
          }),
        );
      }, waitMs);
      const waiting = { resolve, reject, timer };
      this.#waiting.push(waiting);
    });
  }

  #next(): Connection {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) if (!idle.isLost) return idle;
    const opened: Connection = new Connection({
      ...this.#options,
      lost: () => {
        this.#open.delete(opened);
        this.#options.lost?.();
      },
    });
    this.#open.add(opened);
    // For what it does to the client: times stay text, which Drizzle reads itself.
    if (this.#options.isDrizzle) drizzle(opened.sql);
    return opened;
  }

  #release(connection: Connection): void {
    if (!connection.isLost) this.#idle.push(connection);
    const next = this.#waiting.shift();
    if (!next) {
      this.#free++;
      return;
    }
    clearTimeout(next.timer);
    next.resolve(this.#next());
  }
}
