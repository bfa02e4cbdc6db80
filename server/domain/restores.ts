import { existsSync } from "node:fs";
import { type Config, givenRoleUrls } from "../config.ts";
import { secretsOf } from "../kept-files.ts";
import { openBackupPlace } from "../outbound/backup-places.ts";
import { startEmbeddedPostgres } from "../store/embedded.ts";
import { migrateDatabase } from "../store/migrate.ts";
import { findRestoreObstacles } from "../store/restores.ts";
import { listBackups, restoreBackup, type Told, verifyBackup } from "./backups.ts";
import type { Manifest } from "./rules/backups.ts";

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

/** What a restore would put where, and what stands in its way; nothing is written. */
export interface RestorePreview {
  readonly manifest: Manifest;
  readonly obstacles: readonly {
    readonly code: string;
    readonly message: string;
    readonly suggestion: string;
  }[];
}

/**
 * Looks what `restoreKeptBackup` would do: reads the whole backup, and asks the database. An embedded one that is there is
 * started for it; one that is not would be new.
 */
export async function previewKeptRestore(
  config: Config,
  name: string,
  how: Following,
): Promise<RestorePreview> {
  const { manifest, problems } = await verifyBackup(placeOf(config), name, how);
  const broken = problems.map(({ file, message }) => ({
    code: "BACKUP_BROKEN",
    message: `its file ${file} ${message}`,
    suggestion: "Take another backup, or another copy of this one.",
  }));
  const format = manifest.format === "sql" ? [] : [jsonlObstacle];
  const isNew = config.databaseUrl === undefined && !existsSync(config.dataDir);
  const embedded =
    config.databaseUrl === undefined && !isNew
      ? await startEmbeddedPostgres({
          dataDir: config.dataDir,
          signal: how.signal,
          logger: { info: () => {}, warn: () => {} },
        })
      : null;
  try {
    const url = config.databaseUrl ?? embedded?.url;
    const found = url === undefined ? [] : await findRestoreObstacles(url, manifest, how.signal);
    const refused = found.map(({ code, message, suggestion }) => ({ code, message, suggestion }));
    return { manifest, obstacles: [...format, ...broken, ...refused] };
  } finally {
    await embedded?.stop();
  }
}

const jsonlObstacle = {
  code: "RESTORE_FORMAT",
  message: "it has the format jsonl, which is for other programs",
  suggestion: "Restore one of the format sql.",
};

type PlaceConfig = Pick<Config, "backupPlace" | "backupEndpoint" | "backupRegion">;

function placeOf({ backupPlace, backupEndpoint, backupRegion }: PlaceConfig) {
  return openBackupPlace({ place: backupPlace, endpoint: backupEndpoint, region: backupRegion });
}
