import { type Config, givenRoleUrls } from "../config.ts";
import { secretsOf } from "../kept-files.ts";
import { openBackupPlace } from "../outbound/backup-places.ts";
import { startEmbeddedPostgres } from "../store/embedded.ts";
import { migrateDatabase } from "../store/migrate.ts";
import { listBackups, restoreBackup, type Told, verifyBackup } from "./backups.ts";

/** How long work is followed, and ended. */
export interface Following {
  readonly signal: AbortSignal;
  readonly told: Told;
}

/** The backups of the place that a coordinator is configured to keep them in, newest first. */
export function listKeptBackups(config: PlaceConfig, signal: AbortSignal) {
  return listBackups(placeOf(config), signal);
}

/** Compares a backup of that place with its manifest. */
export function verifyKeptBackup(config: PlaceConfig, name: string, how: Following) {
  return verifyBackup(placeOf(config), name, how);
}

/**
 * Puts a backup of that place into the database that a coordinator is configured to use, which it brings to the present
 * schema before. An embedded one is started for it: no coordinator may be using its directory.
 */
export async function restoreKeptBackup(config: Config, name: string, how: Following) {
  const { signal } = how;
  const place = placeOf(config);
  const logger = { info: () => {}, warn: () => {} };
  const embedded =
    config.databaseUrl === undefined
      ? await startEmbeddedPostgres({ dataDir: config.dataDir, signal, logger })
      : null;
  try {
    const url = config.databaseUrl ?? embedded?.url ?? "";
    const [secret, ...olderSecrets] = secretsOf(config);
    await migrateDatabase({
      url,
      secret,
      olderSecrets,
      roleUrls: givenRoleUrls(config),
      mayResetRoles: embedded !== null,
    });
    return await restoreBackup({ url, place }, name, how);
  } finally {
    await embedded?.stop();
  }
}

type PlaceConfig = Pick<Config, "backupPlace" | "backupEndpoint" | "backupRegion">;

function placeOf({ backupPlace, backupEndpoint, backupRegion }: PlaceConfig) {
  return openBackupPlace({ place: backupPlace, endpoint: backupEndpoint, region: backupRegion });
}
