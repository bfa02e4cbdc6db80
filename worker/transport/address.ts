/** Where a coordinator listens. */
export interface Address {
  /** `host:port`, an IPv6 host in brackets. */
  readonly target: string;
  /** Without brackets. */
  readonly host: string;
  /** `http://host:port` or `https://host:port`. */
  readonly url: string;
  /** TLS. */
  readonly isTls: boolean;
}

/** Port of the API listener when nothing else is said. */
export const defaultApiPort = 7070;
/** Port of the worker listener when nothing else is said. */
export const defaultWorkerPort = 7071;

/**
 * Reads `host:port`, `host`, `http://host:port` or `https://host:port`. Without a port: `defaultPort`; with
 * `https://`: 443. Throws a TypeError that says what is wrong.
 */
export function parseAddress(text: string, defaultPort: number): Address {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const parsed = URL.parse(isUrl ? text : `http://${text}`);
  const isWrong =
    parsed === null ||
    parsed.hostname === "" ||
    (parsed.protocol !== "http:" && parsed.protocol !== "https:") ||
    (parsed.pathname !== "/" && parsed.pathname !== "") ||
    parsed.username + parsed.password + parsed.search + parsed.hash !== "";
  if (isWrong) {
    const shown = text.length > 80 ? `${text.slice(0, 79)}…` : text;
    throw new TypeError(
      `must be host:port, http://host:port or https://host:port, not ${JSON.stringify(shown)}`,
    );
  }
  const isTls = parsed.protocol === "https:";
  // URL drops a port that is the scheme's default, so an explicit :80 has to be looked for.
  const saysPort80 = !isTls && parsed.port === "" && /:80\/?$/.test(text);
  const fallback = isTls ? 443 : saysPort80 ? 80 : defaultPort;
  const target = `${parsed.hostname}:${parsed.port === "" ? fallback : parsed.port}`;
  const host = parsed.hostname.replace(/^\[|\]$/g, "");
  return { target, host, isTls, url: `${isTls ? "https" : "http"}://${target}` };
}

/** Reads several addresses with commas between them: coordinators of one database, in the order to try them. */
export function parseAddresses(text: string, defaultPort: number): [Address, ...Address[]] {
  const [first = "", ...others] = text.split(",");
  return [
    parseAddress(first.trim(), defaultPort),
    ...others.map((one) => parseAddress(one.trim(), defaultPort)),
  ];
}

/**
 * The API listener beside a worker listener that says nothing of it: port 7070 of the same host beside port 7071.
 * Beside any other port nothing is known, and 7070 may be a stranger's: the same address, which may be both.
 */
export function defaultApiAddress(worker: Address): Address {
  const colon = worker.target.lastIndexOf(":");
  if (worker.target.slice(colon + 1) !== String(defaultWorkerPort)) return worker;
  const scheme = worker.isTls ? "https" : "http";
  return parseAddress(`${scheme}://${worker.target.slice(0, colon)}:${defaultApiPort}`, defaultApiPort);
}

/** The host is this machine, so that a key in plain text meets nobody. */
export function isLoopback(address: Address): boolean {
  return address.host === "localhost" || address.host === "::1" || /^127(\.\d+){3}$/.test(address.host);
}
