/** Whether what is on the screen is fresh. */
export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | {
      readonly kind: "lost";
      readonly sinceMs: number;
      readonly attempt: number;
      readonly nextTryMs: number;
      readonly cause: string;
      /** The coordinator is there, and will not answer this key. */
      readonly isRefused?: boolean;
    };

/** A connection with the time of its last message. */
export interface Freshness {
  readonly connection: Connection;
  /** When the last message came, by the clock of this machine; when it was opened, before the first. */
  readonly receivedMs: number;
  /** The time after which no message means that something is wrong. */
  readonly quietMs: number;
}

/** Age from which on what is shown looks old, in milliseconds. */
export const oldMs = 10_000;

/** The connection after a loss: the moment of the first loss stays over further tries. */
export function lostConnection(
  before: Connection,
  cause: string,
  delayMs: number,
  attempt: number,
  nowMs: number,
): Connection {
  const sinceMs = before.kind === "lost" ? before.sinceMs : nowMs;
  return { kind: "lost", sinceMs, attempt, nextTryMs: nowMs + delayMs, cause };
}

/** Whether what is shown should look old: the connection is gone, or silent, for more than 10 s. */
export function looksOld({ connection, receivedMs, quietMs }: Freshness, nowMs: number): boolean {
  if (connection.kind === "connecting") return false;
  return nowMs - receivedMs > (connection.kind === "lost" ? oldMs : Math.max(oldMs, quietMs));
}

/** Whether actions may be tried: a connection that was lost is known to be there again first. */
export function canAct({ connection }: Freshness): boolean {
  return connection.kind === "live";
}
