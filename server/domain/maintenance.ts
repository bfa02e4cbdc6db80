import { openBackupPlace } from "../outbound/backup-places.ts";
import { type BackupRequest, createBackup, type MadeBackup, type Told } from "./backups.ts";
import type { Coordinator } from "./context.ts";

/** What the built-in kinds may do beyond the API: only jobs of kinds that ask for the scope get here. */
export interface Maintenance {
  backup(
    request: BackupRequest,
    how: { readonly signal: AbortSignal; readonly told: Told },
  ): Promise<MadeBackup>;
}

/** What maintenance works with. */
export interface MaintenanceContext extends Pick<Coordinator, "config"> {
  /** The database, for the user who owns it. */
  readonly ownerUrl: string;
  /** The database as the role of sweeps. */
  readonly sweepUrl: string;
}

/** Makes the maintenance of a coordinator. Nothing is opened before it is used. */
export function createMaintenance({ config, sweepUrl }: MaintenanceContext): Maintenance {
  const settings = {
    place: config.backupPlace,
    endpoint: config.backupEndpoint,
    region: config.backupRegion,
  };
  return {
    backup: (request, how) => createBackup({ sweepUrl, place: openBackupPlace(settings) }, request, how),
  };
}
