import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  CreateKeyResponseSchema,
  GetKeyResponseSchema,
  type Key,
  KeyService,
  ListKeysResponseSchema,
  RevokeKeyResponseSchema,
} from "@muster/client/v1/key_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { keepNewKey } from "../input/key-file.ts";
import { durationOption, listOption, wholeOption } from "../input/options.ts";
import { timeFromMs } from "../input/values.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showAge, showDuration } from "../output/time.ts";
import { registerForeign } from "./key-register.ts";
import { registerRotate } from "./key-rotate.ts";
import { findKey } from "./named-key.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

const limitOption = wholeOption(1, 1_000_000_000);

interface CreateOptions {
  readonly scope?: readonly string[];
  /** In milliseconds. */
  readonly expires?: number;
  readonly keyFile?: string;
  readonly callsPerMinute?: number;
  readonly jobsPerDay?: number;
}

/** Registers `muster key`. */
export function registerKey(cli: Cli): void {
  const key = cli.program
    .command("key")
    .alias("keys")
    .description("Make and revoke API keys; see those of workers.");
  registerCreate(key, cli);
  registerList(key, cli);
  registerGet(key, cli);
  registerRotate(key, cli);
  registerForeign(key, cli);
  registerRevoke(key, cli);
}

function registerCreate(key: MusterCommand, cli: Cli): void {
  key
    .command("create <name>")
    .description("Make an API key. Its text is shown this once: stdout has nothing else.")
    .examples(
      "muster key create ci --scope submit,read --expires 90d --key-file ci.key",
      "muster key create dashboard --scope read",
    )
    .requiredOption(
      "--scope <scope>",
      "what it allows: read, submit, work, operate, admin, platform; repeat or use commas for more",
      listOption,
    )
    .option("--expires <duration>", "ends by itself after so long (never)", durationOption)
    .option("--key-file <path>", "write it to this new file, for your user alone, instead of stdout")
    .option("--calls-per-minute <count>", "at most so many calls a minute (no limit)", limitOption)
    .option("--jobs-per-day <count>", "at most so many jobs a day, UTC (no limit)", limitOption)
    .notes(
      "admin allows all that the others do, but platform: to act for other orgs (--org), and to keep them.\n" +
        "Worker keys come with `muster worker create`.",
    )
    .action(cli.action((call, name: string, options: CreateOptions) => createKey(call, name, options)));
}

function registerList(key: MusterCommand, cli: Cli): void {
  withPages(key.command("list").alias("ls"))
    .description(
      "List keys, newest first; never their text. --all shows every row, --ended revoked ones, too.",
    )
    .examples("muster key list", "muster key list --ended --json")
    .option("--ended", "revoked and expired ones, too")
    .action(
      cli.action(async (call, options: PageOptions & { readonly ended?: boolean }) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { pageSize, pageToken, all: options.ended === true };
          const response = await call.client(KeyService).listKeys(request, call.once());
          return { rows: response.keys, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListKeysResponseSchema,
          message: create(ListKeysResponseSchema, { keys: page.rows, nextPageToken: page.nextPageToken }),
          text: () => keyTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ keyId }) => keyId),
        });
        notePage(call.output, page, "keys");
        return exitCodes.done;
      }),
    );
}

function registerGet(key: MusterCommand, cli: Cli): void {
  key
    .command("get <key>")
    .description(
      "Show a key; never its text. Named by its id, the beginning of its id, its name, or its text.",
    )
    .examples("muster key get ci", "muster key get 4fQz81aB9xYw -o json")
    .action(
      cli.action(async (call, idOrName: string) => {
        const { keyId } = await findKey(call, idOrName);
        const response = await call.client(KeyService).getKey({ keyId }, call.once());
        call.output.print({
          schema: GetKeyResponseSchema,
          message: response,
          text: () => (response.key ? keyTable([response.key], call.output, call.surroundings.now()) : []),
          names: () => [keyId],
        });
        return exitCodes.done;
      }),
    );
}

function registerRevoke(key: MusterCommand, cli: Cli): void {
  key
    .command("revoke <key>")
    .description(
      "Revoke a key for ever. Named by its id, the beginning of its id, its name, or its whole text.",
    )
    .examples(
      'muster key revoke 4fQz81aB9xYw --reason "it was in a log"',
      "muster key revoke ci --confirm ci",
    )
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, idOrName: string, { reason = "" }: { readonly reason?: string }) => {
        const { keyId, name } = await findKey(call, idOrName);
        const why = reason === "" ? "" : ` --reason ${quote(reason)}`;
        await confirmDanger(call, {
          level: "severe",
          what: `Revoke the key ${name} (${keyId})`,
          expected: name,
          command: `muster key revoke ${keyId}${why}`,
        });
        const response = await call.client(KeyService).revokeKey({ keyId, reason }, call.once());
        call.output.print({
          schema: RevokeKeyResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\t${keyId}\trevoked`],
          names: () => [keyId],
        });
        return exitCodes.done;
      }),
    );
}

async function createKey(call: Call, name: string, options: CreateOptions): Promise<number> {
  const { output } = call;
  const { scope: scopes = [], expires, keyFile } = options;
  if (output.format === "name" && keyFile === undefined) {
    throw usageError(
      "-o name prints the id alone, and the text of the key is never shown again",
      "Give --key-file, or leave -o name out.",
    );
  }
  const expireTime =
    expires === undefined ? {} : { expireTime: timeFromMs(call.surroundings.now() + expires) };
  const { callsPerMinute = 0, jobsPerDay = 0 } = options;
  const request = { name, scopes: [...scopes], limits: { callsPerMinute, jobsPerDay }, ...expireTime };
  const make = () => call.client(KeyService).createKey(request, call.once());
  const response =
    keyFile === undefined
      ? await make()
      : await keepNewKey(call.surroundings, keyFile, async () => {
          const answer = await make();
          const id = answer.key?.keyId;
          const suggestion = `Revoke it with \`muster key revoke ${id}\`, and make another.`;
          return { answer, key: answer.text, made: `the key ${id} is made`, suggestion };
        });
  const keyId = response.key?.keyId ?? "";
  const shown = keyFile === undefined ? response : { ...response, text: "" };
  output.print({
    schema: CreateKeyResponseSchema,
    message: create(CreateKeyResponseSchema, shown),
    text: () => (keyFile === undefined ? [sanitize(response.text)] : []),
    names: () => [keyId],
  });
  const ends = expires === undefined ? "" : ` It ends in ${showDuration(expires)}.`;
  output.note(
    keyFile === undefined
      ? `Made the key ${name} (${keyId}). This is its text; it is not shown again.${ends}`
      : `Made the key ${name} (${keyId}). Its text is in ${keyFile}.${ends}`,
  );
  return exitCodes.done;
}

function keyTable(keys: readonly Key[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "KEY" },
    { title: "NAME" },
    { title: "SCOPES" },
    { title: "TYPE", drop: 2 },
    { title: "WORKER", drop: 1 },
    { title: "LAST", drop: 4 },
    { title: "MADE", align: "right", drop: 3 },
    { title: "USED", align: "right", drop: 2 },
    { title: "STATE" },
  ] as const;
  const rows = keys.map((key): Cell[] => [
    key.keyId,
    key.name,
    key.scopes.join(","),
    key.type,
    key.workerName || "-",
    key.lastFour === "" ? "-" : `…${key.lastFour}`,
    showAge(key.createTime, nowMs),
    key.useTime === undefined ? "never" : showAge(key.useTime, nowMs),
    stateCell(key, nowMs),
  ]);
  return layTable(columns, rows, output.layout);
}

function stateCell({ expireTime, revokeTime }: Key, nowMs: number): Cell {
  if (revokeTime !== undefined) return { text: `revoked ${showAge(revokeTime, nowMs)} ago`, style: "dim" };
  if (expireTime === undefined) return { text: "valid", style: "green" };
  const leftMs = timestampMs(expireTime) - nowMs;
  if (leftMs <= 0) return { text: `expired ${showAge(expireTime, nowMs)} ago`, style: "dim" };
  return { text: `valid for ${showDuration(leftMs)}`, style: leftMs < 7 * 86_400_000 ? "yellow" : "green" };
}
