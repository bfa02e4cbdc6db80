import { z } from "zod";
import type { KeyScope } from "./keys.ts";

/** A kind that the coordinator's own worker runs. */
export interface BuiltInKind {
  readonly description: string;
  /** What its payload must be; what is left out has a default. */
  readonly payload: z.ZodType;
  /** Who may submit it; null: whoever may submit jobs. */
  readonly scope: KeyScope | null;
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
    .describe("Name of the one org; without it the whole database."),
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
    .describe("At most so many of the same scope are kept."),
});

/** The payload of `github.sync`. */
export const githubSyncPayload = z.strictObject({
  project: z.string().max(200).default("").describe("One project; without it all."),
});

/** Every kind that is built in, by its name. */
export const builtInKinds = {
  "github.sync": {
    description: "Asks GitHub where the pull requests stand that count here.",
    payload: githubSyncPayload,
    scope: null,
    schedule: "*/5 * * * *",
  },
  "maintenance.backup": {
    description: "Keeps the whole database, or one org, in a directory or in S3, and removes old backups.",
    payload: backupPayload,
    scope: "platform",
    schedule: "30 2 * * *",
  },
} as const satisfies Readonly<Record<string, BuiltInKind>>;

/** The name of one of them. */
export type BuiltInKindName = keyof typeof builtInKinds;

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
