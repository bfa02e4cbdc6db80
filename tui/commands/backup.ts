import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JobService } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { wholeOption } from "../input/options.ts";
import { payloadOfText } from "../input/payload.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showAge, showCount, showCounted } from "../output/time.ts";
import { type CoordinatorConfig, databaseError, settleConfig } from "./coordinator.ts";
import { waitForJob } from "./job-wait.ts";
import { printWatch } from "./job-watch.ts";

type PlaceFlags = Readonly<Record<string, string | undefined>>;

interface CreateOptions {
  readonly of?: string;
  readonly format?: string;
  readonly keepDays?: number;
  readonly keepCount?: number;
  readonly wait?: boolean;
}

/** Registers `muster backup`. */
export function registerBackup(cli: Cli): void {
  const backup = cli.program
    .command("backup")
    .description("Keep the database in files, look after them, and restore from them.")
    .examples(
      "muster backup create",
      "muster backup list",
      "muster backup verify muster-20260301T023000Z-all-0a1b2c",
      "muster backup restore muster-20260301T023000Z-all-0a1b2c --data-dir /var/lib/muster",
    );
  registerCreate(backup, cli);
  withPlace(backup.command("list"))
    .description("List the backups of a place, newest first.")
    .examples("muster backup list", "muster backup list --backup-place s3://acme-backups/muster --json")
    .notes(placeNotes)
    .action(cli.action((call, flags: PlaceFlags) => list(call, flags)));
  withPlace(backup.command("verify <name>"))
    .description(
      "Compare a backup with its checksums and counts, without a database. Exits with 11 if it is broken.",
    )
    .examples("muster backup verify muster-20260301T023000Z-all-0a1b2c")
    .notes(placeNotes)
    .action(cli.action((call, name: string, flags: PlaceFlags) => verify(call, name, flags)));
  withPlace(backup.command("restore <name>"))
    .description("Restore a backup into an empty database, or one org into a database that lacks it.")
    .examples(
      "DATABASE_URL=postgres://... muster backup restore muster-20260301T023000Z-all-0a1b2c",
      "muster backup restore muster-20260301T023000Z-all-0a1b2c --data-dir /var/lib/muster",
      "muster backup restore muster-20260301T023000Z-all-0a1b2c --dry-run",
    )
    .option(
      "--dry-run",
      "only say what would be restored, and what stands in the way; exits with 11 if something does",
    )
    .option("--data-dir <path>", "directory of the embedded database; its coordinator must not run")
    .option(
      "--database-url-file <path>",
      "file with the address of the Postgres to use instead (DATABASE_URL)",
    )
    .option("--secret-file <path>", "file with the secret of the cluster (MUSTER_SECRET)")
    .notes(
      "All or nothing, in one transaction; afterwards the epoch of the cluster is above that of the backup, so\n" +
        "workers send again what they kept. Keys stay valid where the secret is the same (MUSTER_SECRET, or the\n" +
        "file muster.secret of the data directory): keep it apart from the backups. Artifacts are files: copy\n" +
        "their directory yourself. Without Muster: gunzip -c <backup>/*.sql.gz | psql <database that is migrated>.",
    )
    .action(
      cli.action((call, name: string, { dryRun, ...flags }: PlaceFlags & { readonly dryRun?: boolean }) =>
        dryRun === true ? preview(call, name, flags) : restore(call, name, flags),
      ),
    );
}

const placeNotes =
  "The place is that of the coordinator's configuration: --backup-place, MUSTER_BACKUP_PLACE, or the file of\n" +
  "--config. Credentials of S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's role.";

function withPlace(command: MusterCommand): MusterCommand {
  return command
    .option("--backup-place <place>", "a directory, or s3://bucket/prefix")
    .option("--backup-endpoint <url>", "address of an S3 that is not Amazon's")
    .option("--backup-region <region>", "region of the S3")
    .option("--config <path>", "file with the coordinator's configuration");
}

function registerCreate(backup: MusterCommand, cli: Cli): void {
  backup
    .command("create")
    .description("Make a backup, by a job of the kind maintenance.backup, and wait for it.")
    .examples(
      "muster backup create",
      "muster backup create --of acme --keep-count 7",
      "muster backup create --format jsonl --no-wait",
    )
    .option("--of <org>", "one org, by its name; without it the whole database")
    .option("--format <format>", "sql, which can be restored, or jsonl, for other programs (sql)")
    .option(
      "--keep-days <number>",
      "remove those of the same scope that are older (30)",
      wholeOption(1, 3_650),
    )
    .option("--keep-count <number>", "keep at most so many of the same scope", wholeOption(1, 10_000))
    .option("--no-wait", "print the id of the job, and leave it to itself")
    .notes(
      "It is kept where the coordinator is configured to keep backups. Cancel it like any job: nothing is left\n" +
        "of it. For one each night submit the kind maintenance.backup by a schedule.",
    )
    .action(cli.action((call, options: CreateOptions) => create(call, options)));
}

async function create(call: Call, { of, format, keepDays, keepCount, wait }: CreateOptions): Promise<number> {
  const asked = { org: of, format, keepDays, keepCount };
  const payload = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  const title = of === undefined ? "backup of the database" : `backup of ${of}`;
  const job = {
    kind: "maintenance.backup",
    title,
    payload: payloadOfText(JSON.stringify(payload)),
  };
  const { jobId } = await call.client(JobService).submitJob({ job }, call.once());
  if (wait === false) {
    call.output.printValue({ jobId }, () => [sanitize(jobId)]);
    return exitCodes.done;
  }
  call.output.note(`Submitted ${jobId}.`);
  return call.output.isTty
    ? printWatch(call, jobId, { logs: true, exitStatus: true })
    : waitForJob(call, jobId, true);
}

async function list(call: Call, flags: PlaceFlags): Promise<number> {
  const config = await settleConfig(placeOf(flags), call.surroundings);
  const { listKeptBackups } = await import("@muster/server/domain/restores");
  const backups = await listKeptBackups(config, call.signal).catch((error: unknown) => {
    throw placeError(error, config);
  });
  const shown = backups.map(({ manifest, rows, sizeBytes }) => {
    const { name, at, org, orgs, format, schema, version } = manifest;
    return { name, at, org: org?.name ?? null, orgs, format, rows, sizeBytes, schema, version };
  });
  const nowMs = call.surroundings.now();
  call.output.printValue(
    shown,
    () => {
      const columns = [
        { title: "NAME" },
        { title: "AGE", align: "right" },
        { title: "OF" },
        { title: "FORMAT", drop: 2 },
        { title: "ROWS", align: "right" },
        { title: "MIB", align: "right", drop: 1 },
      ] as const;
      const rows = shown.map((one): Cell[] => [
        one.name,
        showAge(timestampFromMs(Date.parse(one.at)), nowMs),
        one.org === null ? showCounted(one.orgs, "org") : one.org,
        one.format,
        showCount(one.rows),
        mebibytes(one.sizeBytes),
      ]);
      return layTable(columns, rows, call.output.layout);
    },
    () => shown.map(({ name }) => sanitize(name)),
  );
  if (shown.length === 0) call.output.note(`There is no backup at ${sanitize(config.backupPlace)}.`);
  return exitCodes.done;
}

async function verify(call: Call, name: string, flags: PlaceFlags): Promise<number> {
  const config = await settleConfig(placeOf(flags), call.surroundings);
  const { verifyKeptBackup } = await import("@muster/server/domain/restores");
  const how = { signal: call.signal, told: () => {} };
  const { manifest, problems } = await verifyKeptBackup(config, name, how).catch((error: unknown) => {
    throw placeError(error, config);
  });
  const rows = manifest.tables.reduce((sum, table) => sum + table.rows, 0);
  const lines = problems.map(({ file, message }) => `${sanitize(file)} ${message}`);
  call.output.printValue({ name, problems, tables: manifest.tables.length, rows }, () => lines);
  if (problems.length > 0) {
    call.output.note(`${showCounted(problems.length, "file")} of ${sanitize(name)} cannot be trusted.`);
    return exitCodes.checkFailed;
  }
  call.output.note(
    `${showCounted(manifest.tables.length, "table")} with ${showCounted(rows, "row")}: as written.`,
  );
  return exitCodes.done;
}

async function restore(call: Call, name: string, flags: PlaceFlags): Promise<number> {
  const config = await settleConfig(placeOf(flags), call.surroundings);
  const target =
    config.databaseUrl === undefined
      ? `the database in ${config.dataDir}`
      : `the database at ${URL.parse(config.databaseUrl)?.host ?? "its address"}`;
  await confirmDanger(call, {
    level: "severe",
    what: `Restore ${name} into ${target}`,
    expected: name,
    command: `muster ${call.argv.map(quote).join(" ")}`,
  });
  const { restoreKeptBackup } = await import("@muster/server/domain/restores");
  const told = (fraction: number, message: string) => {
    if (call.output.isTty) call.output.note(`${Math.floor(fraction * 100)} % ${message}`);
  };
  const how = { signal: call.signal, told };
  const { manifest, epoch, rows } = await restoreKeptBackup(config, name, how).catch((error: unknown) => {
    const refused = placeError(error, config);
    throw refused instanceof CliError ? refused : databaseError(refused, config);
  });
  const org = manifest.org?.name ?? null;
  call.output.printValue({ name, org, rows, tables: manifest.tables.length, epoch }, () => [
    `${showCounted(rows, "row")} of ${showCounted(manifest.tables.length, "table")} are restored; the epoch of the cluster is ${epoch}.`,
  ]);
  return exitCodes.done;
}

async function preview(call: Call, name: string, flags: PlaceFlags): Promise<number> {
  const config = await settleConfig(placeOf(flags), call.surroundings);
  const { previewKeptRestore } = await import("@muster/server/domain/restores");
  const how = { signal: call.signal, told: () => {} };
  const { manifest, obstacles } = await previewKeptRestore(config, name, how).catch((error: unknown) => {
    const refused = placeError(error, config);
    throw refused instanceof CliError ? refused : databaseError(refused, config);
  });
  const { at, version, schema, format, orgs } = manifest;
  const org = manifest.org?.name ?? null;
  const tables = manifest.tables.map(({ table, rows, sha256 }) => ({ table, rows, sha256 }));
  call.output.printValue({ name, at, org, orgs, version, schema, format, tables, obstacles }, () => {
    const columns = [
      { title: "TABLE" },
      { title: "ROWS", align: "right" },
      { title: "SHA256", drop: 1 },
    ] as const;
    const rows = tables.map((one): Cell[] => [one.table, showCount(one.rows), one.sha256]);
    return layTable(columns, rows, call.output.layout);
  });
  const of = org === null ? showCounted(orgs, "org") : `the org ${sanitize(org)}`;
  call.output.note(
    `${sanitize(name)}: ${of}, of Muster ${sanitize(version)} (schema ${schema}), ${sanitize(at)}.`,
  );
  for (const { message, suggestion } of obstacles) {
    call.output.note(`In the way: ${sanitize(message)}. ${sanitize(suggestion)}`);
  }
  call.output.note(
    obstacles.length === 0 ? "Nothing stands in the way. Nothing was written." : "Nothing was written.",
  );
  return obstacles.length === 0 ? exitCodes.done : exitCodes.checkFailed;
}

const placeFlags = ["backupPlace", "backupEndpoint", "backupRegion", "config"];
const restoreFlags = ["dataDir", "databaseUrlFile", "secretFile"];

// The options of all commands are no settings.
function placeOf(flags: PlaceFlags): PlaceFlags {
  return Object.fromEntries([...placeFlags, ...restoreFlags].map((name) => [name, flags[name]]));
}

// What the backup or its place refuses, in plain words; other errors as they are.
function placeError(error: unknown, { backupPlace }: Pick<CoordinatorConfig, "backupPlace">): unknown {
  if (!(error instanceof Error)) return error;
  const reason =
    textOf(error, "reason") ??
    (/^RESTORE_/.test(textOf(error, "code") ?? "") ? textOf(error, "code") : undefined);
  const suggestion = textOf(error, "suggestion");
  if (reason !== undefined && suggestion !== undefined) {
    return new CliError(error.message, { reason, exitCode: exitCodes.conflict, suggestion, cause: error });
  }
  // What S3, or the directory, says.
  const isPlace =
    "$metadata" in error || /^E(ACCES|PERM|NOTDIR|ROFS|IO|NOSPC)$/.test(textOf(error, "code") ?? "");
  if (!isPlace) return error;
  return new CliError(`the place of the backups cannot be used: ${error.name}: ${error.message}`, {
    reason: "BACKUP_PLACE_UNAVAILABLE",
    exitCode: exitCodes.unreachable,
    suggestion: `Check ${backupPlace}, and who may use it.`,
    cause: error,
  });
}

function textOf(error: Error, name: string): string | undefined {
  const value: unknown = Reflect.get(error, name);
  return typeof value === "string" ? value : undefined;
}

function mebibytes(bytes: number): string {
  const size = bytes / 1024 / 1024;
  return size < 10 ? size.toFixed(1) : showCount(Math.round(size));
}
