import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { generateKey } from "./domain/rules/keys.ts";

/**
 * The secrets of a coordinator, newest first: what is made derives from the first one, what was made under another is
 * still valid. Passwords of roles, the pepper of keys and all signatures derive from them.
 */
export function secretsOf(config: Config): readonly [string, ...string[]] {
  return [config.secret ?? keptSecret(config), ...(config.secretPrevious ?? [])];
}

// Made at the first start.
function keptSecret(config: Config): string {
  const path = join(config.dataDir, "muster.secret");
  if (existsSync(path)) return readFileSync(path, "utf8").trim();
  const secret = randomBytes(32).toString("base64url");
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  writeFileSync(path, `${secret}\n`, { mode: 0o600, flag: "wx" });
  return secret;
}

/** The admin key beside an embedded database: made at the first start. */
export function keptAdminKey(config: Config): {
  readonly path: string;
  readonly key: string;
  readonly isNew: boolean;
} {
  const path = join(config.dataDir, "admin.key");
  if (existsSync(path)) return { path, key: readFileSync(path, "utf8").trim(), isNew: false };
  const key = generateKey("api", config.keyPrefix).text;
  writeFileSync(path, `${key}\n`, { mode: 0o600, flag: "wx" });
  return { path, key, isNew: true };
}
