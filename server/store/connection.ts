import { Socket } from "node:net";
import postgres, { type Options, type PostgresType, type Sql } from "postgres";
import { readArray } from "./arrays.ts";

/** How a connection is made. */
export interface ConnectionOptions {
  readonly url: string;
  /** What `pg_stat_activity` calls it. */
  readonly name: string;
  /** What a statement may take: the server ends longer ones, and transactions that are left open. */
  readonly timeoutMs: number;
  /** Called with what a channel that is listened to says. */
  readonly notified?: (payload: string) => void;
  /** Called once, when it has ended, however it did. */
  readonly lost?: () => void;
}

/**
 * One connection to the database, from its first use to its end. It never
 * becomes another one: what is asked of it afterwards is refused. The driver
 * alone would connect anew behind our back, and send what is left of a
 * transaction there: a COMMIT that stands alone succeeds.
 */
export class Connection {
  /** A client of this one connection: what it is given goes out in order. */
  readonly sql: Sql;
  #isLost = false;
  #hasSpoken = false;
  #socket: Socket | undefined;
  readonly #lost: (() => void) | undefined;

  constructor({ url, name, timeoutMs, notified, lost }: ConnectionOptions) {
    this.#lost = lost;
    this.sql = postgres(
      url,
      driverOptions({
        max: 1,
        onnotice: () => {},
        onclose: () => this.#end(),
        onnotify: (_: string, payload: string) => notified?.(payload),
        onparameter: () => {
          this.#hasSpoken = true;
        },
        socket: (target: SocketTarget) => this.#openSocket(target),
        backoff: () => 0,
        connect_timeout: timeoutMs / 2_000,
        keep_alive: 10,
        // A statement is planned once a connection; connections are kept.
        max_lifetime: null,
        connection: {
          application_name: name,
          statement_timeout: timeoutMs,
          // A transaction that nobody ends holds back the change feed of everybody.
          idle_in_transaction_session_timeout: timeoutMs,
        },
        ...ownArrays,
      }),
    );
  }

  /** The server let us in; before that nothing that it was asked has left. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** Grows with everything that the server says. */
  get bytesRead(): number {
    return this.#socket?.bytesRead ?? 0;
  }

  /** It has ended. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /**
   * Sends what `ask` asks of the driver in one go. The driver writes after each kibibyte, and once more at the end of the
   * turn: each write is a call of the system, and wakes the database for a part of what it is to do.
   */
  inOneGo<T>(ask: () => T): T {
    const socket = this.#socket;
    if (!socket) return ask();
    socket.cork();
    try {
      return ask();
    } finally {
      // The driver takes what it was asked in a microtask, and writes its rest in an immediate of its own, before this.
      queueMicrotask(() => setImmediate(() => socket.uncork()));
    }
  }

  /** Ends it at once, whatever its other side does: all that it was asked rejects. */
  cut(): void {
    this.#end();
    this.#socket?.destroy();
    void this.sql.end({ timeout: 0 }).catch(() => {});
  }

  /** Ends it after what it was asked, or after a time. */
  async close(timeoutSeconds: number): Promise<void> {
    await this.sql.end({ timeout: timeoutSeconds });
    this.#end();
    this.#socket?.destroy();
  }

  #end(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#lost?.();
  }

  // The driver expects that this does not throw: it would wait for ever.
  #openSocket({ host: [host = "localhost"], port: [port = 5432], path }: SocketTarget): Socket {
    const socket = new Socket();
    if (this.#isLost || this.#socket) {
      socket.on("error", () => {});
      setImmediate(() => socket.destroy(new ConnectionLostError("the connection was lost before")));
      return socket;
    }
    this.#socket = socket;
    // The end of what is sent in one go would wait for the answer to its beginning.
    socket.setNoDelay(true);
    // The driver reads the name for TLS here.
    Object.assign(socket, { host });
    return path ? socket.connect(path) : socket.connect(port, host);
  }
}

/**
 * The connection was lost, or took too long: what was asked may have been done, or not. With another code than
 * CONNECTION_LOST nothing was asked.
 */
export class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
  readonly code: "CONNECTION_LOST" | "CONNECTION_BUSY" | "CONNECT_FAILED";

  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly code?: "CONNECTION_BUSY" | "CONNECT_FAILED" } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code ?? "CONNECTION_LOST";
  }
}

/**
 * Settings of every client. The driver asks for the types of arrays at each
 * connection, and nobody catches that question when the server goes away just
 * then: the process would end. So it does not ask; lists are written and read
 * by `arrays.ts`.
 */
const ownArrays = {
  fetch_types: false,
  types: { texts: { to: 1009, from: [1009, 2951], serialize: (value: string) => value, parse: readArray } },
};

/** What the driver tells whoever makes its sockets: of its resolved options. */
interface SocketTarget {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | false;
}

// `socket` and `onnotify` are options of the driver that its types leave out.
function driverOptions(options: object): Options<Record<string, PostgresType>> {
  return options as Options<Record<string, PostgresType>>;
}
