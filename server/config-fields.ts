import { isIP } from "node:net";
import { dirname, join } from "node:path";
import {
  durationUnits,
  invalid,
  isOrigin,
  numberIn,
  quantity,
  type Reading,
  readPath,
  shown,
  sizeUnits,
  valid,
} from "./config-values.ts";

/** The environment, as in process.env. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a default may be derived from: the environment, and the values of the fields above it. */
export interface DefaultInput {
  readonly env: Environment;
  readonly settled: Readonly<Record<string, unknown>>;
}

/** One setting of the coordinator. */
export interface Field<Value> {
  /** Its name in kebab-case: flag `--<key>`, environment `MUSTER_<KEY>` and file key follow from it. */
  readonly key: string;
  /** The form of its value, for help: `duration`, `port`, `a|b`. */
  readonly form: string;
  readonly description: string;
  /** Never printed; not taken from a flag; may be given as a file by `<key>-file` in any source. */
  readonly isSecret: boolean;
  /** Its value is the path of a file that must be readable at start. */
  readonly isInputFile: boolean;
  /** Environment variables besides `MUSTER_<KEY>`, weaker than it. */
  readonly alsoFrom: readonly string[];
  /** The default in words. */
  readonly fallbackText: string;
  readonly fallback: (input: DefaultInput) => Reading<Value>;
  /** Reads what a source gave: text from flags and the environment, a YAML value from the file. */
  readonly read: (raw: unknown) => Reading<Value>;
}

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
  adminKey: secretText("admin-key", "made at first start", "The first admin key."),

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
  hotConnections: whole("hot-connections", 6, 1, 64, "Database connections that claim and finish jobs."),
  appConnections: whole("app-connections", 10, 1, 200, "Database connections that answer calls."),
  databaseTimeoutMs: duration(
    "database-timeout",
    "6s",
    "100ms",
    "10m",
    "Time for one use of a database connection; then it is cut and the call fails.",
  ),
  artifactsDir: besideDataDir("artifacts-dir", "Directory of the artifacts."),

  kinds: toggle(
    "kinds",
    true,
    "Whether a worker of the coordinator's own runs the built-in kinds (github.sync).",
  ),
  githubApiUrl: baseUrl(
    "github-api-url",
    "https://api.github.com",
    "REST API of the GitHub that github.sync asks; of a server of your own https://HOST/api/v3.",
  ),
  githubToken: tokenText("github-token", "Token that github.sync reads pull requests with."),

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

function host(key: string, byDefault: string, description: string): Field<string> {
  return field(key, "host", description, byDefault, (raw) => {
    const text = typeof raw === "string" ? raw.replace(/^\[(.*)\]$/, "$1") : "";
    if (isIP(text) !== 0 || /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/.test(text)) return valid(text);
    return invalid(
      `is not a host name or IP address: ${shown(raw)}`,
      "Write a host alone, like 127.0.0.1 or ::1.",
    );
  });
}

function port(key: string, byDefault: number, description: string): Field<number> {
  return { ...whole(key, byDefault, 0, 65_535, description), form: "port", description };
}

function whole(key: string, byDefault: number, min: number, max: number, description: string): Field<number> {
  return field(key, "number", `${description} ${min} to ${max}.`, String(byDefault), (raw) =>
    numberIn(raw, /^\d{1,15}$/, min, max, "a whole number"),
  );
}

function decimal(
  key: string,
  byDefault: number,
  min: number,
  max: number,
  description: string,
): Field<number> {
  return field(key, "number", `${description} ${min} to ${max}.`, String(byDefault), (raw) =>
    numberIn(raw, /^\d{1,9}(\.\d{1,9})?$/, min, max, "a number"),
  );
}

function duration(
  key: string,
  byDefault: string,
  min: string,
  max: string,
  description: string,
): Field<number> {
  const form = `${description} ${min} to ${max}.`;
  return field(key, "duration", form, byDefault, (raw) =>
    quantity(raw, durationUnits, min, max, "a duration", "30s"),
  );
}

/** Twice the kill grace, unless given. */
function afterKillGrace(key: string, description: string): Field<number> {
  const fallback = ({ settled }: DefaultInput): Reading<number> =>
    valid(Math.max(1_000, 2 * Number(settled["killGraceMs"])));
  return { ...duration(key, "20s", "50ms", "1h", description), fallback, fallbackText: "2 × kill grace" };
}

function size(key: string, byDefault: string, min: string, max: string, description: string): Field<number> {
  const form = `${description} ${min} to ${max}.`;
  return field(key, "size", form, byDefault, (raw) => quantity(raw, sizeUnits, min, max, "a size", "512KiB"));
}

function toggle(key: string, byDefault: boolean, description: string): Field<boolean> {
  return field(key, "", description, byDefault ? "on" : "off", (raw) => {
    const text = String(raw).toLowerCase();
    if (/^(true|yes|on|1)$/.test(text)) return valid(true);
    if (/^(false|no|off|0)$/.test(text)) return valid(false);
    return invalid(`is neither true nor false: ${shown(raw)}`, "Write true or false.");
  });
}

/** The first choice is the default. */
function choice<const Choice extends string>(
  key: string,
  choices: readonly [Choice, ...Choice[]],
  description: string,
): Field<Choice> {
  return field(key, choices.join("|"), description, choices[0], (raw) => {
    const found = choices.find((one) => one === raw);
    if (found !== undefined) return valid(found);
    return invalid(`is not one of its values: ${shown(raw)}`, `Write one of ${choices.join(", ")}.`);
  });
}

function address(key: string, fallbackText: string, description: string): Field<string | undefined> {
  return optional(key, "url", fallbackText, description, (raw) => {
    if (typeof raw === "string" && isOrigin(raw)) return valid(new URL(raw).origin);
    return invalid(
      `is not an http or https address: ${shown(raw)}`,
      "Write it like https://muster.example:7070.",
    );
  });
}

function origins(key: string, description: string): Field<readonly string[]> {
  const read = (raw: unknown): Reading<readonly string[]> => {
    const listed: unknown[] = Array.isArray(raw) ? raw : String(raw).split(",");
    const trimmed = listed.map((one) => String(one).trim()).filter((one) => one !== "");
    const wrong = trimmed.find((one) => !isOrigin(one));
    if (wrong === undefined) return valid(trimmed.map((one) => new URL(one).origin));
    return invalid(
      `has an entry that is not a web origin: ${shown(wrong)}`,
      "Write it like https://app.example.",
    );
  };
  return { ...field(key, "url,…", description, "", read), fallbackText: "none" };
}

function inputFile(key: string, description: string): Field<string | undefined> {
  return { ...optional(key, "path", "none", description, readPath), isInputFile: true };
}

function databaseUrl(key: string, description: string, ...alsoFrom: string[]): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && /^postgres(ql)?:\/\/\S+$/.test(raw)
      ? valid(raw)
      : invalid("is not a Postgres address", "Write it like postgres://user:password@host:5432/database.");
  return { ...optional(key, "url", "none", description, read), isSecret: true, alsoFrom };
}

function secretText(key: string, fallbackText: string, description: string): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && /^\S{32,}$/.test(raw)
      ? valid(raw)
      : invalid("must have at least 32 characters and no spaces", "Make one with: openssl rand -base64 32");
  return { ...optional(key, "text", fallbackText, description, read), isSecret: true };
}

function tokenText(key: string, description: string): Field<string | undefined> {
  const read = (raw: unknown): Reading<string> =>
    typeof raw === "string" && /^[\x21-\x7e]{1,1000}$/.test(raw)
      ? valid(raw)
      : invalid("is not a token: it has spaces, or is empty", "Copy it whole.");
  return { ...optional(key, "text", "none", description, read), isSecret: true };
}

/** An address that paths are added to. */
function baseUrl(key: string, byDefault: string, description: string): Field<string> {
  return field(key, "url", description, byDefault, (raw) => {
    const url = typeof raw === "string" && /^https?:\/\/[^?#@\\\s]+$/i.test(raw) ? URL.parse(raw) : null;
    if (url !== null) return valid(url.href.replace(/\/+$/, ""));
    return invalid(`is not an http or https address: ${shown(raw)}`, `Write it like ${byDefault}.`);
  });
}

function stateDir(key: string, description: string): Field<string> {
  const fallback = ({ env }: DefaultInput): Reading<string> => {
    const { XDG_STATE_HOME: state, HOME: home } = env;
    if (state?.startsWith("/")) return valid(join(state, "muster", "data"));
    if (home) return valid(join(home, ".local", "state", "muster", "data"));
    return invalid(
      "has no default: neither XDG_STATE_HOME nor HOME is set",
      `Give a directory with --${key}.`,
    );
  };
  const fallbackText = "$XDG_STATE_HOME/muster/data, or ~/.local/state/muster/data";
  return { ...field(key, "path", description, "", readPath), fallback, fallbackText };
}

function besideDataDir(key: string, description: string): Field<string> {
  const fallback = ({ settled }: DefaultInput): Reading<string> =>
    valid(join(dirname(String(settled["dataDir"])), "artifacts"));
  return {
    ...field(key, "path", description, "", readPath),
    fallback,
    fallbackText: "artifacts beside the data directory",
  };
}

function optional<Value>(
  key: string,
  form: string,
  fallbackText: string,
  description: string,
  read: (raw: unknown) => Reading<Value>,
): Field<Value | undefined> {
  return {
    ...field<Value | undefined>(key, form, description, "", read),
    fallback: () => valid(undefined),
    fallbackText,
  };
}

/** A field whose default is written as a user would write it, and read the same way. */
function field<Value>(
  key: string,
  form: string,
  description: string,
  byDefault: string,
  read: (raw: unknown) => Reading<Value>,
): Field<Value> {
  const fallback = (): Reading<Value> => read(byDefault);
  return {
    key,
    form,
    description,
    isSecret: false,
    isInputFile: false,
    alsoFrom: [],
    fallbackText: byDefault,
    fallback,
    read,
  };
}
