/** The releases of Node from which on its server of HTTP/2 loses no memory to a flood (CVE-2026-21714), by major. */
const oldestByMajor: Readonly<Record<number, readonly [minor: number, patch: number]>> = {
  22: [22, 2],
  24: [14, 1],
  25: [8, 2],
};

/** The coordinator does not serve on this release of Node. */
export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
  readonly code = "NODE_TOO_OLD";
  readonly suggestion =
    "Use Node 24.14.1 or later, 22.22.2 or later of Node 22, or 25.8.2 or later of Node 25.";
}

/** Throws RuntimeError when strangers could exhaust a coordinator that runs on this version of Node. */
export function assertRuntime(version: string): void {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const oldest = oldestByMajor[major];
  if (oldest === undefined && major > 25) return;
  const [oldestMinor, oldestPatch] = oldest ?? [Number.POSITIVE_INFINITY, 0];
  if (minor > oldestMinor || (minor === oldestMinor && patch >= oldestPatch)) return;
  throw new RuntimeError(`Node ${version} has a server of HTTP/2 that a flood exhausts`);
}
