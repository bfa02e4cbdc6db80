import { Connection, ConnectionLostError, type ConnectionOptions } from "./connection.ts";
import { isConnectionLost } from "./connection-errors.ts";
import { drizzle } from "./drizzle.ts";

/** Somebody who waits for a connection. */
interface Waiting {
  readonly resolve: (connection: Connection) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** How often the time that a use may take doubles at most, when uses take too long. */
const mostDoublings = 2;
/** After so many times of a use without a cut the time is the shortest again. */
const calmUses = 10;

/**
 * A fixed number of connections, each somebody's alone while it is in use, so
 * that a whole transaction can be sent in one go. Every use comes to an end,
 * whatever the other side does: a connection that does not answer in time is
 * cut, and one that was lost is replaced by the next use.
 *
 * A new connection has to prepare its statements again, which takes a database
 * that is overloaded longer than what it was cut off from. So each cut doubles
 * the time that uses may take from then on, up to four times as long, until
 * there were none for a while: overload does not feed itself.
 */
export class HotPool {
  readonly #options: ConnectionOptions & { readonly isDrizzle: boolean };
  readonly #open = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #waiting: Waiting[] = [];
  #free: number;
  #isEnded = false;
  #uses = 0;
  #doublings = 0;
  #cutMs = Number.NEGATIVE_INFINITY;

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
   * when none is free for half the time that a use may take, and when the use
   * takes longer than that.
   */
  async use<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#take();
    const useMs = this.#useMs();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#becomePatient(useMs);
      connection.cut();
    }, useMs);
    try {
      return await body(connection);
    } catch (cause) {
      if (isConnectionLost(cause)) connection.cut();
      if (isConnectionLost(cause) && !connection.hasSpoken) {
        throw new ConnectionLostError("no connection to the database could be made", {
          cause,
          code: "CONNECT_FAILED",
        });
      }
      if (!isLate) throw cause;
      throw new ConnectionLostError(`the database did not answer within ${useMs} ms`, { cause });
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
    const waitMs = this.#useMs() / 2;
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

  #useMs(): number {
    const { timeoutMs } = this.#options;
    if (performance.now() - this.#cutMs > calmUses * timeoutMs) this.#doublings = 0;
    return timeoutMs * 2 ** this.#doublings;
  }

  // Uses that began together are cut together: they are one lesson.
  #becomePatient(cutAfterMs: number): void {
    this.#cutMs = performance.now();
    if (cutAfterMs === this.#useMs()) this.#doublings = Math.min(mostDoublings, this.#doublings + 1);
  }

  #next(): Connection {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) if (!idle.isLost) return idle;
    const opened: Connection = new Connection({
      ...this.#options,
      statementTimeoutMs: this.#options.timeoutMs * 2 ** mostDoublings,
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
