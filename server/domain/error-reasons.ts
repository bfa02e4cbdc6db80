import { outboundReasons } from "./outbound-reasons.ts";
import { peopleReasons } from "./people-reasons.ts";
import { checkId, reason as r } from "./reason-entry.ts";

const sendLess = "Send less, or store the bytes as an artifact and send its id.";

/**
 * Every reason that an error of Muster can carry. A reason never changes its code or its meaning once
 * released; documentation, CLI help and tests are made from this table.
 */
export const errorReasons = {
  ...peopleReasons,
  ...outboundReasons,
  VALIDATION_FAILED: r("invalid_argument", "The request is not valid.", "Correct the fields that are named."),
  UNKNOWN_FIELD: r(
    "invalid_argument",
    "The request has an unknown field.",
    "Remove it, or correct its name.",
  ),
  PAGE_TOKEN_INVALID: r(
    "invalid_argument",
    "The page token does not belong to this list.",
    "Start again without a page token, and keep the other arguments the same from page to page.",
  ),
  FILTER_INVALID: r(
    "invalid_argument",
    "The filter cannot be read.",
    'Write it like: state:running skill:gpu age>10m "some text". See `muster help filter`.',
  ),
  DEPENDENCY_CYCLE: r(
    "invalid_argument",
    "The dependencies of the jobs form a cycle.",
    "Remove one of the dependencies on the cycle.",
  ),

  SERVICE_NOT_FOUND: r("not_found", "There is no such service.", "List the services by reflection."),
  JOB_NOT_FOUND: r("not_found", "There is no such job.", checkId),
  BATCH_NOT_FOUND: r("not_found", "There is no such batch.", checkId),
  WORKER_NOT_FOUND: r("not_found", "There is no such worker.", checkId),
  QUEUE_NOT_FOUND: r("not_found", "There is no such queue.", "Check the name of the queue."),
  PROJECT_NOT_FOUND: r(
    "not_found",
    "There is no such project.",
    "List those that there are with `muster project list`.",
  ),
  SCHEDULE_NOT_FOUND: r(
    "not_found",
    "There is no such schedule.",
    "List those that there are with `muster schedule list`.",
  ),
  TEMPLATE_NOT_FOUND: r(
    "not_found",
    "There is no such template.",
    "List those that there are with `muster template list`.",
  ),
  SKILL_NOT_FOUND: r(
    "not_found",
    "There is no such skill document.",
    "List those that there are with `muster skill list`.",
  ),
  SESSION_NOT_FOUND: r("not_found", "There is no such session.", checkId),
  PULL_REQUEST_NOT_FOUND: r(
    "not_found",
    "No result has named this pull request.",
    "List those that count with `muster project prs`.",
  ),
  ARTIFACT_NOT_FOUND: r("not_found", "There is no such artifact.", checkId),
  ATTEMPT_NOT_FOUND: r(
    "not_found",
    "The job has no such attempt.",
    "List the attempts with `muster job get`.",
  ),
  DEAD_LETTER_NOT_FOUND: r(
    "not_found",
    "There is no such dead letter.",
    "It may have been replayed or discarded: look at the job.",
  ),
  LEASE_NOT_FOUND: r(
    "not_found",
    "No such lease is current.",
    "It may have ended: look at the job with `muster job attempts`.",
  ),
  KEY_NOT_FOUND: r("not_found", "There is no such key.", checkId),
  CODE_NOT_FOUND: r(
    "not_found",
    "The code is not valid, was used, or has ended.",
    "Check it, or ask for a new one.",
  ),
  ORG_NOT_FOUND: r("not_found", "There is no such org.", checkId),

  IDEMPOTENCY_CONFLICT: r(
    "already_exists",
    "The idempotency key was used with other content.",
    "Use a new key for other content, or send the first content again.",
  ),
  SCHEDULE_EXISTS: r(
    "already_exists",
    "There is a schedule of this name.",
    "Change it with `muster schedule edit`, or choose another name.",
  ),
  SCHEDULES_FULL: r(
    "failed_precondition",
    "The org has as many schedules as it may.",
    "Delete some that are not used any more: `muster schedule list --state ended` shows those that have ended.",
  ),
  EXTERNAL_ID_CONFLICT: r(
    "already_exists",
    "The external id belongs to another job.",
    "Look that job up by its external id, or choose another one.",
  ),
  KEY_REGISTERED: r(
    "already_exists",
    "The key is registered already, or was: a hash stands for one key, in one org.",
    "Make a new key where this one came from, and register that.",
  ),
  NAME_TAKEN: r("already_exists", "The name is taken.", "Choose another name."),

  WORKER_HELD_BY_OPERATOR: r(
    "failed_precondition",
    "An operator, or the coordinator, holds the worker back.",
    "Ask an operator of the org.",
  ),
  WORKER_REJECTED: r(
    "failed_precondition",
    "An operator rejected the worker.",
    "Approve it with `muster worker approve`.",
  ),
  WORKER_NEEDS_NO_APPROVAL: r(
    "failed_precondition",
    "No person enrolled the worker: it needs no approval.",
    "Shut it out with `muster worker disable`.",
  ),

  JOB_NOT_TERMINAL: r(
    "failed_precondition",
    "The job has not ended yet.",
    "Wait for it with `muster job wait`, or cancel it first.",
  ),
  JOB_ALREADY_TERMINAL: r(
    "failed_precondition",
    "The job has already ended.",
    "Nothing is left to do; to run it again use `muster job retry`.",
  ),
  JOB_NOT_REPLAYABLE: r(
    "failed_precondition",
    "Only a dead or cancelled job can be run again.",
    "Submit a new job instead.",
  ),
  JOB_NOT_PARKABLE: r(
    "failed_precondition",
    "Only a job that waits can be parked.",
    "Wait until it has ended or waits again; one that runs can be cancelled with `muster job cancel`.",
  ),
  JOB_NOT_PARKED: r(
    "failed_precondition",
    "The job is not parked.",
    "Look at it with `muster job get`: nothing holds it that unpark could end.",
  ),
  JOB_HAS_DEPENDANTS: r(
    "failed_precondition",
    "Other jobs depend on the job, and have not ended yet.",
    "Wait for them, or cancel them first.",
  ),
  JOB_RUNS_ONCE: r(
    "failed_precondition",
    "The job runs at most once, and may have begun: no other worker may have it.",
    "Wait for its worker, or cancel it with `muster job cancel`.",
  ),
  COUNT_CHANGED: r(
    "failed_precondition",
    "More jobs match than were confirmed.",
    "Look at what matches now, and confirm that count.",
  ),
  SESSION_PUBLISHED: r(
    "failed_precondition",
    "The worker still publishes the session.",
    "Archive it with `muster session archive`, or end it at its worker first.",
  ),
  SESSION_UNROUTABLE: r(
    "failed_precondition",
    "No project has this session.",
    "Publish the session with its project first.",
  ),
  SUPERSEDED: r(
    "failed_precondition",
    "The lease is no longer current: the job has gone on without it.",
    "Stop this attempt and drop its work; do not send this again.",
  ),
  LINK_NOT_ATTACHED: r(
    "failed_precondition",
    "The worker has no link.",
    "Attach first (a Hello on the stream, or the Attach call), then send this again.",
  ),
  HELLO_EXPECTED: r(
    "failed_precondition",
    "The first frame of a link must be a Hello, and must come in time.",
    "Send Hello as the first frame right after the stream opens.",
  ),
  LAST_ADMIN_KEY: r(
    "failed_precondition",
    "It is the last valid key with the scope admin.",
    "Make another one first with `muster key create --scope admin`.",
  ),
  LAST_ADMIN: r(
    "failed_precondition",
    "It is the last admin of the org, and there is no key with the scope admin either.",
    "Make somebody else an admin first with `muster person role`.",
  ),
  PROVIDER_OFF: r(
    "failed_precondition",
    "The coordinator is not configured for this provider.",
    "Ask whoever runs it: the settings are oidc-issuer with oidc-audience, and github-client-id.",
  ),
  KEY_ENDED: r(
    "failed_precondition",
    "The key has ended: it was revoked, or has expired.",
    "Make another one with `muster key create`.",
  ),
  KEY_SCHEME_OFF: r(
    "failed_precondition",
    "The coordinator has no secret for keys that were hashed elsewhere by HMAC.",
    "Set MUSTER_KEY_HMAC_SECRET_FILE on every coordinator, or register the key by sha256.",
  ),
  ORG_NOT_SUSPENDED: r(
    "failed_precondition",
    "The org is not suspended.",
    "Suspend it first with `muster org suspend`.",
  ),
  ORG_DELETED: r(
    "failed_precondition",
    "The org is being deleted.",
    "Nothing brings it back; make a new one with `muster org create`.",
  ),
  OWN_ORG: r(
    "failed_precondition",
    "It is the org of the key that asks.",
    "Nobody could take it back: this org goes with its installation.",
  ),
  WORKER_ATTACHED: r(
    "failed_precondition",
    "The worker is attached.",
    "Stop it, or disable it with `muster worker disable`; then remove it.",
  ),
  WORKER_HOLDS_LEASES: r(
    "failed_precondition",
    "The worker still holds leases.",
    "Wait until they come back, or disable it with `muster worker disable`; then remove it.",
  ),
  PROTOCOL_VERSION_UNSUPPORTED: r(
    "failed_precondition",
    "The coordinator does not speak this version of the worker protocol.",
    "Upgrade whichever is older, the worker or the coordinator.",
  ),
  SKILLS_FULL: r(
    "failed_precondition",
    "The org has as many skill documents as it may.",
    "Delete some that are not used any more.",
  ),
  LOG_GAP: r(
    "failed_precondition",
    "Events of the attempt are missing before this one.",
    "Send again from the sequence that is expected, or declare the gap.",
  ),

  LINK_REPLACED: r(
    "aborted",
    "A newer link of the same worker took over.",
    "Stop this process if another one runs under the same worker identity.",
  ),
  ETAG_MISMATCH: r("aborted", "It was changed by somebody else.", "Read it again, then repeat the change."),

  PAYLOAD_TOO_LARGE: r("resource_exhausted", "The payload is larger than allowed.", sendLess),
  MESSAGE_TOO_LARGE: r("resource_exhausted", "The message is larger than allowed.", sendLess),
  ARTIFACT_TOO_LARGE: r(
    "resource_exhausted",
    "The artifact is larger than allowed.",
    "Split it, compress it, or raise the limit.",
  ),
  TOO_MANY_MACHINES: r(
    "resource_exhausted",
    "The person has as many machines in the org as the policy allows.",
    "Remove one that is not used any more with `muster worker remove`, or ask an admin to allow more.",
  ),
  OVERLOADED: r(
    "resource_exhausted",
    "The coordinator has more to do than it can take.",
    "Try again after the time given; submit many jobs in one call.",
  ),
  LINKS_EXHAUSTED: r(
    "resource_exhausted",
    "The org has as many workers attached as it may have.",
    "End a worker, or raise --links-per-org of the coordinator.",
  ),
  WATCHES_EXHAUSTED: r(
    "resource_exhausted",
    "The org has as many lists open as it may watch.",
    "Close some, or try again after the time given; the setting is watches-per-org.",
  ),
  RATE_LIMITED: r("resource_exhausted", "Too many calls.", "Try again after the time given."),

  KEY_INVALID: r(
    "unauthenticated",
    "The key is missing or not valid.",
    "Send a valid key as `authorization: Bearer mk_…`.",
  ),
  WEBHOOK_SIGNATURE_INVALID: r(
    "unauthenticated",
    "The signature of the delivery is missing or not valid.",
    "Enter the path and the secret of `muster project webhook` at GitHub.",
  ),
  ARTIFACT_URL_INVALID: r(
    "permission_denied",
    "The URL is not valid.",
    "Ask for a new one: GetArtifactUrl to read, CreateArtifact to write.",
  ),
  ARTIFACT_URL_EXPIRED: r(
    "permission_denied",
    "The URL has expired.",
    "Ask for a new one: GetArtifactUrl to read, CreateArtifact to write.",
  ),
  SCOPE_MISSING: r(
    "permission_denied",
    "The key may not do this.",
    "Use a key with the scope that is named.",
  ),
  NOT_OWN_JOB: r(
    "permission_denied",
    "A job's token is for its own job alone.",
    "Name the job of the token, or use a key.",
  ),
  ORG_SUSPENDED: r(
    "permission_denied",
    "The org is suspended.",
    "Ask whoever runs the coordinator; `muster org resume` lets it go on.",
  ),
  WORKER_DISABLED: r(
    "permission_denied",
    "The worker is disabled.",
    "Enable it with `muster worker enable`, or ask an operator why it was disabled.",
  ),

  DATABASE_UNAVAILABLE: r("unavailable", "The database is out of reach.", "Try again after the time given."),
  COMMIT_UNKNOWN: r(
    "unavailable",
    "It is not known whether the change was committed.",
    "Send it again with the same key or id: it is applied at most once.",
  ),
  PROVIDER_UNAVAILABLE: r("unavailable", "The provider is out of reach.", "Try again after the time given."),
  SHUTTING_DOWN: r("unavailable", "The coordinator is stopping.", "Try again; another one may answer."),
  WAIT_TIMEOUT: r(
    "deadline_exceeded",
    "What was waited for did not happen in time.",
    "Wait again with a longer timeout; nothing was changed.",
  ),
  CALL_TIMEOUT: r("deadline_exceeded", "The call took too long.", "Try again, with a longer timeout."),

  INTERNAL: r(
    "internal",
    "Something went wrong inside the coordinator.",
    "Try again; if it stays, give the request id to whoever runs the coordinator.",
  ),
  UNIMPLEMENTED: r("unimplemented", "This is not implemented.", "Upgrade the coordinator, or do without."),
};

/** A key of the registry. */
export type ErrorReason = keyof typeof errorReasons;
