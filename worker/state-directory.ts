import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/**
 * Where a worker keeps its outbox and boot record: `$XDG_STATE_HOME/muster/worker/<identity>`, by default under
 * `~/.local/state`. `identity` may be any text; what a file name may not hold becomes `_`.
 */
export function stateDirectory(env: Readonly<Record<string, string | undefined>>, identity: string): string {
  const stated = env["XDG_STATE_HOME"];
  // The XDG specification has relative paths ignored.
  const base =
    stated !== undefined && isAbsolute(stated) ? stated : join(env["HOME"] ?? homedir(), ".local", "state");
  const name = identity
    .replaceAll(/[^A-Za-z0-9._-]/g, "_")
    .replace(/^\.+/, "_")
    .slice(0, 120);
  return join(base, "muster", "worker", name);
}

/** What stands for a worker without a name: the public part of its key, never the secret. */
export function keyIdentity(key: string): string {
  const [prefix, type, id, ...secret] = key.split("_");
  return prefix === "mk" && secret.length >= 2 ? `${type}-${id}` : "unnamed";
}
