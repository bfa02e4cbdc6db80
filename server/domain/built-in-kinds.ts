import { z } from "zod";
import type { KeyScope } from "./keys.ts";
import type { BuiltInKindName } from "./rules/built-in-kinds.ts";

/** A kind that the coordinator's own worker runs. */
export interface BuiltInKind {
  readonly description: string;
  /** What its payload must be; what is left out has a default. */
  readonly payload: z.ZodType;
  /** Who may submit it in the org `default`; null: whoever may submit jobs. */
  readonly scope: KeyScope | null;
  /** The same in the other orgs, where it concerns what is theirs alone. */
  readonly tenantScope: KeyScope | null;
  /** When it is meant to run: a cron expression, and in whose time zone; null: when it is asked for. */
  readonly schedule: string | null;
}

const days = z.int().min(1).max(3_650);

/** What `maintenance.backup` is asked. */
export const backupPayload = z.strictObject({
  org: z
    .string()
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .describe("Name of the one org; without it the whole database. In other orgs than default: itself."),
  format: z
    .enum(["sql", "jsonl"])
    .default("sql")
    .describe("sql: for psql and `muster backup restore`; jsonl: a JSON object a line, for other programs."),
  keepDays: days.default(30).describe("Older ones of the same scope are removed; the newest always stays."),
  keepCount: z
    .int()
    .min(1)
    .max(10_000)
    .nullable()
    .default(null)
    .describe("At most so many of the same scope are kept; in other orgs than default 30 in any case."),
});

/** The payload of `github.sync`. */
export const githubSyncPayload = z.strictObject({
  project: z.string().max(200).default("").describe("One project; without it all."),
});

const slug = z.string().min(1).max(200);

/** What `github.issues` is asked. */
export const githubIssuesPayload = z.strictObject({
  repository: z
    .string()
    .regex(/^[\w.-]{1,100}\/[\w.-]{1,100}$/, "must be like acme/web")
    .describe("The repository, like acme/web."),
  label: z.string().min(1).max(100).describe("Issues with this label become jobs."),
  kind: slug.describe("The kind of the jobs."),
  queue: slug.optional().describe("Their queue."),
  project: slug.optional().describe("Their project."),
  skills: z.array(slug).max(20).optional().describe("Skills that their worker must have."),
  payload: z
    .record(z.string(), z.unknown())
    .default({})
    .describe("Fields of their payload beside `issue`, which holds what the issue says."),
});

/** What `http.request` is asked. */
export const httpRequestPayload = z
  .strictObject({
    url: z.url({ protocol: /^https?$/, error: "must be an http or https URL" }).max(2_000),
    method: z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]).default("GET"),
    headers: z
      .record(
        z
          .string()
          .regex(/^[\w!#$%&'*+.^`|~-]{1,100}$/, "must be the name of a header")
          .regex(/^(?!(host|content-length|transfer-encoding|connection)$)/i, "is not yours to set"),
        z
          .string()
          .max(4_000)
          .regex(/^[\t\x20-\x7e\x80-\xff]*$/, "must have no line breaks"),
      )
      .default({}),
    json: z.json().optional().describe("Sent as JSON."),
    body: z
      .string()
      .max(512 * 1024)
      .optional()
      .describe("Sent as it is."),
    expect: z
      .array(z.int().min(100).max(599))
      .min(1)
      .max(50)
      .optional()
      .describe("Statuses that are a success; without it 200 to 299."),
    timeoutMs: z.int().min(100).max(300_000).default(30_000),
    maxBytes: z
      .int()
      .min(0)
      .max(512 * 1024)
      .default(64 * 1024)
      .describe("A longer answer is a failure."),
  })
  .refine(({ json, body }) => json === undefined || body === undefined, {
    path: ["body"],
    message: "cannot stand beside json",
  });

/** What `maintenance.retry-dead` is asked. */
export const retryDeadPayload = z.strictObject({
  filter: z
    .string()
    .max(900)
    .default("")
    .describe(
      'Which of the dead jobs, as people write filters: `kind:render.* age>1h "timeout"`; without it all.',
    ),
  perMinute: z.int().min(1).max(10_000).default(60).describe("How many get another run in a minute."),
  limit: z.int().min(1).max(1_000_000).default(1_000).describe("How many at most."),
  dryRun: z.boolean().default(false).describe("Count only."),
});

/** What `maintenance.retention` is asked. */
export const retentionPayload = z.strictObject({
  jobsDays: days
    .default(90)
    .describe("Jobs, with all that is kept of them, go so many days after they were submitted."),
  logsDays: days
    .nullable()
    .default(null)
    .describe("Logs, partial results and messages; without it they go with their jobs."),
  dryRun: z.boolean().default(false).describe("Say what would go, and why other days stay."),
});

/** What `report.digest` is asked. */
export const digestPayload = z.strictObject({
  to: z.array(z.email().max(250)).min(1).max(50).describe("Addresses."),
  period: z
    .enum(["day", "week"])
    .default("day")
    .describe("The day, or the week from Monday, that ended last."),
  zone: z
    .string()
    .max(60)
    .refine(isTimeZone, "must be a time zone like Europe/Berlin")
    .default("UTC")
    .describe("Time zone of the days."),
});

function isTimeZone(zone: string): boolean {
  try {
    return /^[A-Za-z]/.test(zone) && new Intl.DateTimeFormat("en", { timeZone: zone }) !== null;
  } catch {
    return false;
  }
}

/** Every kind that is built in, by its name. */
export const builtInKinds = {
  "github.sync": {
    description: "Asks GitHub where the pull requests stand that count here.",
    payload: githubSyncPayload,
    scope: null,
    tenantScope: null,
    schedule: "*/5 * * * *",
  },
  "github.issues": {
    description: "Makes each open issue with a label a job, once.",
    payload: githubIssuesPayload,
    scope: null,
    tenantScope: null,
    schedule: "*/5 * * * *",
  },
  "http.request": {
    description: "Sends one request to a public https address; the answer is the result.",
    payload: httpRequestPayload,
    scope: null,
    tenantScope: null,
    schedule: null,
  },
  "maintenance.retention": {
    description: "Drops the days of jobs, history and logs that are older than the policy, with their files.",
    payload: retentionPayload,
    scope: "platform",
    tenantScope: "admin",
    schedule: "15 3 * * *",
  },
  "maintenance.retry-dead": {
    description: "Gives dead jobs another run, by filter and at a rate.",
    payload: retryDeadPayload,
    scope: "operate",
    tenantScope: "operate",
    schedule: null,
  },
  "report.digest": {
    description: "E-mails what ended, died and was opened as a pull request, and by whom.",
    payload: digestPayload,
    scope: "operate",
    tenantScope: "operate",
    schedule: "0 8 * * *",
  },
  "maintenance.backup": {
    description: "Keeps the whole database, or one org, in a directory or in S3, and removes old backups.",
    payload: backupPayload,
    scope: "platform",
    tenantScope: "admin",
    schedule: "30 2 * * *",
  },
} as const satisfies Readonly<Record<BuiltInKindName, BuiltInKind>>;

/** The definition of a kind; undefined: it is not built in. */
export function builtInKind(kind: string): BuiltInKind | undefined {
  const all: Readonly<Record<string, BuiltInKind>> = builtInKinds;
  return Object.hasOwn(all, kind) ? all[kind] : undefined;
}

/**
 * The payload of a job as its kind understands it. Throws what `failure` makes of all that is wrong with it at once:
 * a job with such a payload never succeeds, whoever runs it.
 */
export function readPayload<Schema extends z.ZodType>(
  kind: string,
  schema: Schema,
  payload: unknown,
  failure: (message: string, code: string) => Error,
): z.output<Schema> {
  const read = schema.safeParse(payload ?? {});
  if (read.success) return read.data;
  const wrong = read.error.issues.map(({ path, message }) => {
    const field = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
    return field === "" ? message : `${field.slice(1)}: ${message}`;
  });
  throw failure(`the payload of ${kind} is not valid: ${wrong.join("; ")}`, "PAYLOAD_INVALID");
}
