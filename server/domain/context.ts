import type { Config } from "../config.ts";
import type { Database } from "../store/database.ts";
import type { Batcher } from "./batcher.ts";
import type { Counters } from "./counters.ts";
import type { ProjectNames } from "./project-names.ts";
import type { KeyType } from "./rules/keys.ts";
import type { Role } from "./rules/people.ts";
import type { JobSettings, PartialJobSettings } from "./rules/settings.ts";
import type { SkillDocuments } from "./skill-documents.ts";
import type { ReadyCount, Submission, SubmitAnswer } from "./submit.ts";

/** Where log lines go: message and fields. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Nudges without data: each may be lost, a poll always follows. */
export interface Wakes {
  /** Jobs of the org may have become ready; `counts` are all of them, where they are known. */
  ready(orgId: string, counts?: readonly ReadyCount[]): void;
  /** Ends of jobs wait for the sweep that takes them to who depends on them. */
  released(orgId: string): void;
  /** These jobs changed, or their attempts said something: the feed has news. */
  changed(orgId: string, jobIds: readonly string[]): void;
  /** A cancel waits for a worker of the org. */
  cancel(orgId: string): void;
  /** Leases of the org were taken from their workers, who do not know yet. */
  revoked(orgId: string): void;
  /** A command waits for a worker of the org. */
  command(orgId: string): void;
  /** A gate of the org was changed: what was known of its gates is old, and offers may stand behind a paused one. */
  gates(orgId: string): void;
  /** Sessions of the org, or what decides whether they can be used, are not as they were. */
  routes(orgId: string): void;
}

/** What every verb works with. Made once, by `server.ts`. */
export interface Coordinator {
  readonly coordinatorId: string;
  readonly db: Database;
  readonly config: Config;
  /** A new UUIDv7, on the database's clock. */
  readonly newId: () => string;
  /** The database's clock as this process last saw it, in milliseconds. It stamps; it judges nothing. */
  readonly nowMs: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly wakes: Wakes;
  readonly log: Log;
  readonly counters: Counters;
  /** Submissions on their way to the database. */
  readonly submits: Batcher<Submission, SubmitAnswer>;
  /** What a job's settings come to: server < org < queue < kind < job. At most 1 s old. */
  readonly settings: {
    resolve(
      orgId: string,
      of: { readonly queue: string; readonly kind: string; readonly job: PartialJobSettings },
    ): Promise<JobSettings>;
  };
  /** Which projects there are. */
  readonly projects: ProjectNames;
  /** Which skills have documents. */
  readonly documents: SkillDocuments;
}

/** Who calls. */
export interface Caller {
  readonly orgId: string;
  /** The org of the key, where a platform key acts for another org than its own. */
  readonly keyOrgId?: string;
  /** The org is another one than `default`, which is the installation's own; absent: it is that one. */
  readonly isTenant?: true;
  /** Why the org may do nothing now; absent: it may. */
  readonly suspension?: string;
  /**
   * For the audit log: `key:<key id>`, `platform:<key id>` in another org, `worker:<name>`, `person:<e-mail>` or
   * `system`.
   */
  readonly actor: string;
  readonly type: KeyType;
  /** Of a person it is the id of the login: what ends with it. */
  readonly keyId: string;
  /** The worker that the key is bound to. */
  readonly workerId: string | null;
  readonly scopes: readonly string[];
  /** What of the key is limited; absent: nothing. */
  readonly limits?: KeyLimits;
  /** The one lease that a job's token is for; absent: it is no token of a job. */
  readonly lease?: { readonly jobId: string; readonly attempt: number; readonly leaseId: string };
  /** The person who calls; absent: it is a key. */
  readonly personId?: string;
  /** How that person is logged in; there when `personId` is. */
  readonly login?: LoginOfCaller;
  /** Echoed to the caller and logged. */
  readonly requestId: string;
}

/** How a person is logged in. */
export interface LoginOfCaller {
  readonly loginId: string;
  /** The org of the account. */
  readonly homeOrgId: string;
  readonly email: string;
  /** What they may do in the org of the call; null: no org was chosen, or they are in none. */
  readonly role: Role | null;
  /** The one org that the login is good for; null: all of the person's. */
  readonly onlyOrgId: string | null;
}

/** How much a key may do; null: as much as it likes. */
export interface KeyLimits {
  readonly callsPerMinute: number | null;
  readonly jobsPerDay: number | null;
}
