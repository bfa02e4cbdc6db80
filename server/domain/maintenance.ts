import { openBackupPlace } from "../outbound/backup-places.ts";
import { createMailer } from "../outbound/mail.ts";
import { type BackupRequest, createBackup, type MadeBackup, type Told } from "./backups.ts";
import type { Coordinator } from "./context.ts";
import { type DigestRequest, sendDigest } from "./digests.ts";
import { invalidArgument } from "./errors.ts";
import { defaultOrgName } from "./keys.ts";
import { keepOrgToPolicy } from "./org-retention.ts";
import {
  keepToPolicy,
  type RetentionContext,
  type RetentionPolicy,
  type RetentionResult,
} from "./retention.ts";

/** What the built-in kinds of an org may do beyond the API: only jobs of kinds that ask for the scope get here. */
export interface Maintenance {
  /** Of the org `default` the whole database or any org, of another org itself. */
  backup(request: BackupRequest, how: Following): Promise<MadeBackup>;
  /** Of this org alone. */
  digest(request: OwnDigest): Promise<{ readonly subject: string }>;
  /** Of the org `default` the days of all orgs, of another org its own jobs. */
  retain(policy: RetentionPolicy, how: Following): Promise<RetentionResult>;
}

/** The org that maintenance is for. */
export interface MaintainedOrg {
  readonly orgId: string;
  readonly orgName: string;
}

/** What maintenance works with. */
export type MaintenanceContext = Pick<Coordinator, "config" | "db"> & RetentionContext;

type Following = { readonly signal: AbortSignal; readonly told: Told };
type OwnDigest = Omit<DigestRequest, "orgId"> & Omit<Parameters<typeof sendDigest>[1], "orgId">;

/** Makes the maintenance of a coordinator, org by org. Nothing is opened before it is used. */
export function createMaintenance(c: MaintenanceContext): (org: MaintainedOrg) => Maintenance {
  const { config, db, sweepUrl } = c;
  const settings = {
    place: config.backupPlace,
    endpoint: config.backupEndpoint,
    region: config.backupRegion,
  };
  return ({ orgId, orgName }) => {
    const isTenant = orgName !== defaultOrgName;
    return {
      async backup(request, how) {
        const asked = isTenant ? ownBackup(request, orgName) : request;
        const made = await createBackup({ sweepUrl, place: openBackupPlace(settings) }, asked, how);
        // Where the coordinator keeps files is its operator's business.
        return isTenant ? { ...made, place: "" } : made;
      },
      digest: (request) =>
        sendDigest({ db, mailer: createMailer({ ...config, from: config.mailFrom }) }, { ...request, orgId }),
      retain: (policy, how) =>
        isTenant ? keepOrgToPolicy(c, orgId, policy, how) : keepToPolicy(c, policy, how),
    };
  };
}

/** Backups of an org that are kept at most: the place is the coordinator's. */
const mostOwnBackups = 30;

function ownBackup({ org, format, keep }: BackupRequest, own: string): BackupRequest {
  // Of other names nothing is said, whether there are such orgs or not.
  if (org !== null && org !== own) {
    throw invalidArgument([{ field: "org", message: `must be the org itself: ${own}` }]);
  }
  return {
    org: own,
    format,
    keep: { ...keep, count: Math.min(keep.count ?? mostOwnBackups, mostOwnBackups) },
  };
}
