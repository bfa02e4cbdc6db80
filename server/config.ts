import { type ConfigName, configEntries, configFields } from "./config-fields.ts";
import type { Field } from "./config-forms.ts";
import {
  type ConfigInput,
  type ConfigProblem,
  fileKey,
  flagName,
  type Given,
  givenBySources,
  problemAt,
  readGiven,
  variableName,
} from "./config-sources.ts";
import { invalid, type Wrong } from "./config-values.ts";
import { settingViolations } from "./domain/rules/settings.ts";

/**
 * The coordinator's configuration, complete and checked. Durations are in milliseconds (`xMs`), sizes in bytes
 * (`xBytes`); what each setting means is said once, in config-fields.ts.
 */
export type Config = {
  readonly [Name in ConfigName]: (typeof configFields)[Name] extends Field<infer Value> ? Value : never;
};

/** Everything that is wrong with a configuration; the message is a line a problem, fit for a terminal. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const title = problems.length === 1 ? "a problem" : `${problems.length} problems`;
    super([`The configuration has ${title}:`, ...problems.map(problemLine)].join("\n"));
    this.problems = problems;
  }
}

/** A flag for the command line, `--heartbeat <duration>`. `default` is text for help, never a value to pass on. */
export interface ConfigFlag {
  readonly flag: string;
  readonly description: string;
  readonly default: string;
}

/**
 * Settles every setting: flag before environment before file (`--config`, `MUSTER_CONFIG`) before default.
 * Reads only the files that are named. Throws ConfigError with all problems at once.
 */
export function loadConfig(input: ConfigInput): Config {
  const problems: ConfigProblem[] = [];
  const givens = givenBySources(input, problems);
  const settled: Record<string, unknown> = {};
  const broken = new Set<ConfigName>();
  for (const [name, field] of configEntries()) {
    const given = givens.get(name);
    const reading =
      given === undefined ? field.fallback({ env: input.env, settled }) : readGiven(given, field, input);
    if (reading.kind === "value") settled[name] = reading.value;
    else {
      broken.add(name);
      problems.push(problemAt(given ?? byDefault(name), reading));
    }
  }
  const config = settledConfig(settled);
  for (const { settings, check } of crossRules) {
    if (settings.some((name) => broken.has(name))) continue;
    const wrong = check(config);
    const blamed = settings.find((name) => givens.has(name)) ?? settings[0];
    if (wrong !== undefined) problems.push(problemAt(givens.get(blamed) ?? byDefault(blamed), wrong));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

/** The configuration as it may be printed or logged: `(set)` stands for a secret, null for nothing. */
export function redactedConfig(
  config: Config,
): Record<string, string | number | boolean | readonly string[] | null> {
  const shown = configEntries().map(([name, field]) => {
    const value = config[name];
    return [name, value === undefined ? null : field.isSecret ? "(set)" : value] as const;
  });
  return Object.fromEntries(shown);
}

/**
 * The address of the API that workers are told, once it listens on `boundPort`. Undefined when it listens on a
 * wildcard address and none is configured: workers then keep the host that they dialled.
 */
export function advertisedApiAddress(config: Config, boundPort: number): string | undefined {
  if (config.apiAddress !== undefined) return config.apiAddress;
  if (config.apiHost === "0.0.0.0" || config.apiHost === "::") return undefined;
  const host = config.apiHost.includes(":") ? `[${config.apiHost}]` : config.apiHost;
  return `${config.tlsCert === undefined ? "http" : "https"}://${host}:${boundPort}`;
}

/** The URLs of the login roles, where they are given. */
export function givenRoleUrls(config: Config) {
  return {
    ...(config.databaseAppUrl === undefined ? {} : { muster_app: config.databaseAppUrl }),
    ...(config.databaseHotUrl === undefined ? {} : { muster_hot: config.databaseHotUrl }),
    ...(config.databaseSweepUrl === undefined ? {} : { muster_sweep: config.databaseSweepUrl }),
  };
}

/** Where this machine reaches what listens on all of its addresses. */
export function ownMachine(address: string): string {
  return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}

/** Every flag of the coordinator. A secret has a flag for a file that holds it, and none for its value. */
export function configFlags(): ConfigFlag[] {
  const flags = configEntries().map(([, field]) => ({
    flag: flagUsage(field),
    description: field.isSecret ? `File with: ${field.description}` : field.description,
    default: field.fallbackText,
  }));
  return [{ flag: "--config <path>", description: configDescription, default: "none" }, ...flags];
}

/** The README's table of every setting, in Markdown, a line a setting. */
export function configTable(): string {
  const cell = (text: string): string => text.replaceAll("|", "\\|");
  const code = (text: string): string => `\`${cell(text)}\``;
  const row = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rows = configEntries().map(([, field]) => {
    const { key, isSecret, alsoFrom, fallbackText, description } = field;
    const variables = [variableName(key), ...(isSecret ? [variableName(`${key}-file`)] : []), ...alsoFrom];
    const fallback =
      fallbackText !== "none" && /^[\w.]+$/.test(fallbackText) ? code(fallbackText) : cell(fallbackText);
    const names = [code(flagUsage(field)), variables.map(code).join(", "), code(fileKey(key))];
    return row([...names, fallback, cell(description)]);
  });
  const config = row([code("--config <path>"), code("MUSTER_CONFIG"), "", "none", configDescription]);
  const head = [row(["Flag", "Environment", "File", "Default", "Meaning"]), "|---|---|---|---|---|"];
  return `${[...head, config, ...rows].join("\n")}\n`;
}

/** A rule over several settings; the first of them that was given is blamed. */
interface CrossRule {
  readonly settings: readonly [ConfigName, ...ConfigName[]];
  readonly check: (config: Config) => Wrong | undefined;
}

const configDescription = "YAML file of settings, by the names in the column File.";

const crossRules: readonly CrossRule[] = [
  {
    settings: ["heartbeatMs", "staleMs"],
    check: (c) =>
      wrongIf(
        c.heartbeatMs >= c.staleMs,
        "heartbeat must be below stale",
        "Three heartbeats make a good stale.",
      ),
  },
  {
    settings: ["staleMs", "reclaimAfterMs"],
    check: (c) =>
      wrongIf(
        c.staleMs >= c.reclaimAfterMs,
        "stale must be below reclaim-after",
        "Twice stale is a good reclaim-after.",
      ),
  },
  {
    settings: ["reclaimAfterMs", "heartbeatMs"],
    check: (c) => {
      const [violation] = settingViolations({ reclaimAfterMs: c.reclaimAfterMs }, c);
      return violation === undefined ? undefined : invalid(`reclaim-after ${violation.message}`);
    },
  },
  {
    settings: ["backoffInitialMs", "backoffMaxMs"],
    check: (c) =>
      wrongIf(c.backoffInitialMs > c.backoffMaxMs, "backoff-initial must not be above backoff-max"),
  },
  {
    settings: ["workerPort", "apiPort", "workerHost", "apiHost"],
    check: (c) => {
      const isSame = c.apiPort !== 0 && c.apiPort === c.workerPort && c.apiHost === c.workerHost;
      return wrongIf(
        isSame,
        "both listeners have the same port",
        "Give api-port and worker-port different numbers.",
      );
    },
  },
  { settings: ["apiHost", "tlsCert", "allowInsecure"], check: (c) => unsafeHost(c.apiHost, c) },
  { settings: ["workerHost", "tlsCert", "allowInsecure"], check: (c) => unsafeHost(c.workerHost, c) },
  {
    settings: ["tlsCert", "tlsKey"],
    check: (c) => {
      const isHalf = (c.tlsCert === undefined) !== (c.tlsKey === undefined);
      return wrongIf(
        isHalf,
        "the certificate and its key belong together",
        "Give both tls-cert and tls-key.",
      );
    },
  },
  {
    settings: ["tlsCa", "tlsCert"],
    check: (c) =>
      wrongIf(
        c.tlsCa !== undefined && c.tlsCert === undefined,
        "has no use without TLS",
        "Give tls-cert and tls-key.",
      ),
  },
  {
    settings: ["tlsDenied", "tlsCa"],
    check: (c) =>
      wrongIf(
        c.tlsDenied !== undefined && c.tlsCa === undefined,
        "has no use without client certificates",
        "Give tls-ca, whose certificates clients then show.",
      ),
  },
  {
    settings: ["smtpUrl", "sendgridKey"],
    check: (c) =>
      wrongIf(
        c.smtpUrl !== undefined && c.sendgridKey !== undefined,
        "e-mails leave by one way alone",
        "Give smtp-url or sendgrid-key.",
      ),
  },
  {
    settings: ["smtpUrl", "sendgridKey", "mailFrom"],
    check: (c) =>
      wrongIf(
        (c.smtpUrl ?? c.sendgridKey) !== undefined && c.mailFrom === undefined,
        "has no use without whom e-mails are from",
        "Give mail-from.",
      ),
  },
  {
    settings: ["databaseAppUrl", "databaseHotUrl", "databaseSweepUrl", "databaseUrl"],
    check: (c) => {
      const roleUrls = [c.databaseAppUrl, c.databaseHotUrl, c.databaseSweepUrl].filter(
        (url) => url !== undefined,
      );
      const isPart = roleUrls.length > 0 && (roleUrls.length < 3 || c.databaseUrl === undefined);
      const all = "Give database-url, -app-url, -hot-url and -sweep-url, or only the first.";
      return wrongIf(isPart, "the addresses of the three roles and database-url belong together", all);
    },
  },
];

function problemLine({ source, name, message, suggestion }: ConfigProblem): string {
  return `  ${source} ${name}: ${message}.${suggestion === undefined ? "" : ` ${suggestion}`}`;
}

function byDefault(name: ConfigName): Given {
  return { source: "default", name: configFields[name].key, raw: undefined, isPath: false };
}

function settledConfig(settled: Record<string, unknown>): Config {
  // Safe: each value was read by the field of its name; a field that failed is looked at by no rule, and
  // the configuration then leaves nowhere, because loadConfig throws.
  return settled as Config;
}

function wrongIf(isWrong: boolean, message: string, suggestion?: string): Wrong | undefined {
  return isWrong ? invalid(message, suggestion) : undefined;
}

function unsafeHost(host: string, config: Config): Wrong | undefined {
  const isLoopback = /^(127(\.\d{1,3}){3}|::1|localhost)$/i.test(host);
  return wrongIf(
    !isLoopback && !config.allowInsecure && config.tlsCert === undefined,
    `listens beyond loopback without TLS: ${host}`,
    "Give --tls-cert and --tls-key, or --insecure-listen if a proxy in front has TLS.",
  );
}

function flagUsage({ key, form, isSecret, fallbackText }: Field<unknown>): string {
  if (isSecret) return `${flagName(`${key}-file`)} <path>`;
  // What is on unless told otherwise is told so.
  if (form === "" && fallbackText === "on") return flagName(`no-${key}`);
  return form === "" ? flagName(key) : `${flagName(key)} <${form}>`;
}
