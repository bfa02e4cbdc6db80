import {
  address,
  afterKillGrace,
  besideDataDir,
  choice,
  databaseUrl,
  decimal,
  duration,
  type Field,
  host,
  inputFile,
  keyPrefix,
  origins,
  port,
  secretText,
  secretTexts,
  size,
  stateDir,
  toggle,
  whole,
} from "./config-forms.ts";
import { kindsFields } from "./config-kinds.ts";
import { outboundFields } from "./config-outbound.ts";
import { peopleFields } from "./config-people.ts";

/** Every setting, by its name in `Config`, in the order of the documentation. */
export const configFields = {
  apiHost: host("api-host", "127.0.0.1", "Where the API listens."),
  apiPort: port("api-port", 7070, "Port of the API; 0 takes a free one."),
  workerHost: host("worker-host", "127.0.0.1", "Where worker links are taken."),
  workerPort: port("worker-port", 7071, "Port of the worker links; 0 takes a free one."),
  apiAddress: address("api-address", "same host, API port", "Address of the API that workers are told."),
  allowInsecure: toggle(
    "insecure-listen",
    false,
    "Listen beyond loopback without TLS (behind a proxy that has it).",
  ),
  tlsCert: inputFile("tls-cert", "Certificate chain of both listeners (PEM)."),
  tlsKey: inputFile("tls-key", "Private key of the certificate (PEM)."),
  tlsCa: inputFile("tls-ca", "Authorities whose client certificates are accepted (PEM)."),
  tlsClientCert: choice(
    "tls-client-cert",
    ["required", "optional"],
    "Whether clients must show a certificate when tls-ca is given.",
  ),
  tlsDenied: inputFile(
    "tls-denied",
    "Serial numbers of client certificates that are refused, in hexadecimal, one a line.",
  ),
  connectionsPerAddress: whole(
    "connections-per-address",
    2_000,
    0,
    1_000_000,
    "Connections of one address (of one /64 in IPv6) to each listener, those of this machine aside; 0: no limit.",
  ),
  linksPerOrg: whole(
    "links-per-org",
    20_000,
    1,
    1_000_000,
    "Workers of an org that may be attached at once.",
  ),

  databaseUrl: databaseUrl(
    "database-url",
    "Address of the Postgres to use instead of the embedded one.",
    "DATABASE_URL",
  ),
  databaseAppUrl: databaseUrl(
    "database-app-url",
    "Its address as role muster_app, where roles cannot be created.",
  ),
  databaseHotUrl: databaseUrl("database-hot-url", "Its address as role muster_hot, likewise."),
  databaseSweepUrl: databaseUrl("database-sweep-url", "Its address as role muster_sweep, likewise."),
  dataDir: stateDir("data-dir", "Directory of the embedded database."),
  secret: secretText(
    "secret",
    "made at first start",
    "What the passwords of the roles and the pepper of the keys derive from.",
  ),
  secretPrevious: secretTexts(
    "secret-previous",
    "Secrets that were used before, newest first, apart by commas: what derives from them is still valid.",
  ),
  adminKey: secretText("admin-key", "made at first start", "The first admin key."),
  keyPrefix: keyPrefix("key-prefix", "What keys that are made from now on begin with: 2 to 8 letters a-z."),
  keyHmacSecret: secretText(
    "key-hmac-secret",
    "none",
    "Secret of keys that were hashed elsewhere by HMAC-SHA-256.",
  ),
  badKeysPerMinute: whole(
    "bad-keys-per-minute",
    60,
    1,
    1_000_000,
    "Keys that are not valid, by the address that they come from and by their id, before more are refused unread.",
  ),

  heartbeatMs: duration("heartbeat", "5s", "50ms", "1m", "How often a worker shows that it lives."),
  staleMs: duration("stale", "15s", "50ms", "1h", "Silence after which a worker gets no new offers."),
  offerTtlMs: duration("offer-ttl", "10s", "50ms", "10m", "Time to answer an offer."),
  killGraceMs: duration(
    "kill-grace",
    "10s",
    "0s",
    "10m",
    "Time between asking a handler to stop and killing it.",
  ),
  cancelSuspectMs: afterKillGrace(
    "cancel-suspect",
    "How long a live worker may leave a cancel without an answer before it gets no new offers.",
  ),
  quarantineLosses: whole(
    "quarantine-losses",
    3,
    0,
    1_000,
    "Jobs that a worker loses one after the other within 10 min before it is quarantined; 0: never.",
  ),
  watchesPerOrg: whole("watches-per-org", 200, 1, 100_000, "Lists that an org may watch at once."),
  hellosPerSecond: whole("hellos-per-second", 200, 1, 100_000, "Workers that may attach in a second."),
  outageGraceMs: duration(
    "outage-grace",
    "30s",
    "0s",
    "1h",
    "How long nothing expires after an outage of our own.",
  ),
  helloTimeoutMs: duration("hello-timeout", "5s", "50ms", "1m", "Time for the first frame of a link."),

  reclaimAfterMs: duration(
    "reclaim-after",
    "30s",
    "100ms",
    "24h",
    "Silence after which a worker's leases are lost.",
  ),
  maxAttempts: whole("max-attempts", 3, 1, 100, "Failures of its own after which a job is dead."),
  backoffInitialMs: duration("backoff-initial", "5s", "0s", "24h", "Wait after the first failure of a job."),
  backoffMaxMs: duration("backoff-max", "10m", "0s", "7d", "Longest wait between attempts (±20 %)."),
  backoffFactor: decimal("backoff-factor", 2, 1, 100, "By how much each failure multiplies the wait."),
  leaseTtlMs: duration("lease-ttl", "4h", "1s", "7d", "Cap of one attempt."),

  maxPayloadBytes: size(
    "max-payload",
    "1MiB",
    "1KiB",
    "1MiB",
    "Largest payload and largest result of a job.",
  ),
  idempotencyTtlMs: duration(
    "idempotency-ttl",
    "7d",
    "1m",
    "365d",
    "How long an idempotency key is remembered.",
  ),
  lateResultTtlMs: duration(
    "late-result-ttl",
    "7d",
    "1m",
    "365d",
    "How long a result that came after its lease was lost is kept, for people.",
  ),
  scheduleHistoryMs: duration(
    "schedule-history",
    "30d",
    "1h",
    "3650d",
    "How long it is kept what became of the fire times of schedules.",
  ),
  statsMinutesMs: duration("stats-minutes", "6h", "1h", "30d", "How long statistics are kept by the minute."),
  statsHoursMs: duration("stats-hours", "30d", "1d", "365d", "How long they are kept by the hour."),
  statsDaysMs: duration("stats-days", "400d", "1d", "3650d", "How long they are kept by the day."),
  hotConnections: whole("hot-connections", 6, 1, 64, "Database connections that claim and finish jobs."),
  appConnections: whole("app-connections", 10, 1, 200, "Database connections that answer calls."),
  databaseTimeoutMs: duration(
    "database-timeout",
    "6s",
    "100ms",
    "10m",
    "Time for one use of a database connection; then it is cut and the call fails.",
  ),
  artifactsDir: besideDataDir("artifacts-dir", "Directory of the artifacts.", "artifacts"),

  ...kindsFields,
  ...peopleFields,
  ...outboundFields,

  shutdownGraceMs: duration(
    "shutdown-grace",
    "30s",
    "0s",
    "1h",
    "Time for calls and links to end at a stop.",
  ),
  logLevel: choice(
    "log-level",
    ["info", "trace", "debug", "warn", "error", "fatal", "silent"],
    "What is logged.",
  ),
  logFormat: choice("log-format", ["json", "pretty"], "How it is logged."),
  corsOrigins: origins("cors-origins", "Web origins that browsers may call the API from."),
  reflection: choice(
    "reflection",
    ["on", "off", "authenticated"],
    "Who may read the schema by gRPC reflection.",
  ),
};

/** The name of a setting in `Config`. */
export type ConfigName = keyof typeof configFields;

/** Every setting with its name. */
export function configEntries(): readonly (readonly [ConfigName, Field<unknown>])[] {
  // Safe: configFields is a literal of this module, so it has no keys beyond those of its type.
  return Object.entries(configFields) as [ConfigName, Field<unknown>][];
}

/** Variables `MUSTER_*` of the command line and of workers, which may stand beside those of a coordinator. */
export const clientVariables: readonly string[] = [
  ..."CONTEXT ADDRESS ORG API_KEY API_KEY_FILE KEY KEY_FILE OUTPUT NO_COLOR TRANSPORT STATE_DIR".split(" "),
  ..."CLIENT_CONFIG CLIENT_TLS_CA CLIENT_TLS_CERT CLIENT_TLS_KEY READ_ONLY".split(" "),
].map((name) => `MUSTER_${name}`);
