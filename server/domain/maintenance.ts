import { openBackupPlace } from "../outbound/backup-places.ts";
import { createMailer } from "../outbound/mail.ts";
import { type BackupRequest, createBackup, type MadeBackup, type Told } from "./backups.ts";
import type { Coordinator } from "./context.ts";
import { sendDigest } from "./digests.ts";
import {
  keepToPolicy,
  type RetentionContext,
  type RetentionPolicy,
  type RetentionResult,
} from "./retention.ts";

/** What the built-in kinds may do beyond the API: only jobs of kinds that ask for the scope get here. */
export interface Maintenance {
  backup(
    request: BackupRequest,
    how: { readonly signal: AbortSignal; readonly told: Told },
  ): Promise<MadeBackup>;
  digest(request: Parameters<typeof sendDigest>[1]): Promise<{ readonly subject: string }>;
  retain(
    policy: RetentionPolicy,
    how: { readonly signal: AbortSignal; readonly told: Told },
  ): Promise<RetentionResult>;
}

/** What maintenance works with. */
export type MaintenanceContext = Pick<Coordinator, "config" | "db"> & RetentionContext;

/** Makes the maintenance of a coordinator. Nothing is opened before it is used. */
export function createMaintenance(c: MaintenanceContext): Maintenance {
  const { config, db, sweepUrl } = c;
  const settings = {
    place: config.backupPlace,
    endpoint: config.backupEndpoint,
    region: config.backupRegion,
  };
  return {
    backup: (request, how) => createBackup({ sweepUrl, place: openBackupPlace(settings) }, request, how),
    digest: (request) =>
      sendDigest({ db, mailer: createMailer({ ...config, from: config.mailFrom }) }, request),
    retain: (policy, how) => keepToPolicy(c, policy, how),
  };
}
