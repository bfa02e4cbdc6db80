/**
 * True when the connection failed, so that it is unknown what was committed,
 * or when the database could not go on (it stops, has no connection left, or
 * took longer than a statement may): trying again later is right.
 */
export function isConnectionLost(error: unknown): boolean {
  return /^(CONNECT|ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|57P0|57014|25P03|53300|08)/.test(errorCode(error));
}

/** True when the server ended a statement for its time: the connection goes on. */
export function isStatementTimeout(error: unknown): boolean {
  return errorCode(error) === "57014";
}

/** True when a transaction failed in a way that leaves it unknown whether it was committed. */
export function mayBeCommitted(error: unknown): boolean {
  // Not connected, no connection free, ended by the server for its time: then nothing was.
  const isSettled = /^(CONNECTION_BUSY|CONNECT_|57014|25P03|57P03|53300)/.test(errorCode(error));
  return isConnectionLost(error) && !isSettled;
}

/** True when the database chose this transaction to give way: trying again is right. */
export function isSerialisation(error: unknown): boolean {
  const code = errorCode(error);
  return code === "40P01" || code === "40001" || code === "55P03";
}

/** The code of a driver or database error, looking through its causes. */
export function errorCode(error: unknown): string {
  let cause: unknown = error;
  for (let depth = 0; depth < 4 && cause instanceof Error; depth++) {
    if ("code" in cause && typeof cause.code === "string") return cause.code;
    cause = cause.cause;
  }
  return "";
}
