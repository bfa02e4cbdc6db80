import { create } from "@bufbuild/protobuf";
import {
  CreateOrgResponseSchema,
  DeleteOrgResponseSchema,
  GetOrgResponseSchema,
  ListOrgsResponseSchema,
  type Org,
  OrgService,
  ResumeOrgResponseSchema,
  SuspendOrgResponseSchema,
} from "@muster/client/v1/org_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { keepNewKey } from "../input/key-file.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showAge, showTime } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

/** Registers `muster org`. */
export function registerOrg(cli: Cli): void {
  const org = cli.program
    .command("org")
    .alias("orgs")
    .description("Keep orgs, the tenants of an installation: with a platform key.");
  registerCreate(org, cli);
  registerLook(org, cli);
  registerSuspend(org, cli);
  registerDelete(org, cli);
}

function registerCreate(org: MusterCommand, cli: Cli): void {
  org
    .command("create <name>")
    .description("Make an org and its first admin key. The key is shown this once: stdout has nothing else.")
    .examples("muster org create acme --key-file acme.key", "muster org create acme | vault write …")
    .option("--key-file <path>", "write the key to this new file, for your user alone, instead of stdout")
    .notes(
      "The key can do all within its org and nothing beyond. A platform key acts for any org:\n" +
        "muster job list --org acme. The first admin key of an installation is one; it makes others\n" +
        "with muster key create NAME --scope admin,platform.",
    )
    .action(
      cli.action((call, name: string, options: { readonly keyFile?: string }) =>
        createOrg(call, name, options.keyFile),
      ),
    );
}

function registerLook(org: MusterCommand, cli: Cli): void {
  withPages(org.command("list").alias("ls"))
    .description("List orgs, oldest first.")
    .examples("muster org list", "muster org list --json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call.client(OrgService).listOrgs({ pageSize, pageToken }, call.once());
          return { rows: response.orgs, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListOrgsResponseSchema,
          message: create(ListOrgsResponseSchema, { orgs: page.rows, nextPageToken: page.nextPageToken }),
          text: () => orgTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map(({ name }) => name),
        });
        notePage(call.output, page, "orgs");
        return exitCodes.done;
      }),
    );
  org
    .command("get <org>")
    .description("Show an org, named by name or id.")
    .examples("muster org get acme")
    .action(
      cli.action(async (call, named: string) => {
        const response = await call.client(OrgService).getOrg({ org: named }, call.once());
        call.output.print({
          schema: GetOrgResponseSchema,
          message: response,
          text: () =>
            response.org === undefined ? [] : layFacts(orgFacts(response.org), call.output.layout),
          names: () => [response.org?.name ?? named],
        });
        return exitCodes.done;
      }),
    );
}

function registerSuspend(org: MusterCommand, cli: Cli): void {
  org
    .command("suspend <org>")
    .description("Suspend an org: its calls are refused, and nothing of it is offered. What runs ends.")
    .examples('muster org suspend acme --reason "not paid"')
    .requiredOption("--reason <text>", "why: its callers are told")
    .action(
      cli.action(async (call, named: string, { reason }: { readonly reason: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Suspend the org ${named}`,
          command: `muster org suspend ${quote(named)} --reason ${quote(reason)}`,
        });
        const response = await call.client(OrgService).suspendOrg({ org: named, reason }, call.once());
        call.output.print({
          schema: SuspendOrgResponseSchema,
          message: response,
          text: () => [`${sanitize(response.org?.name ?? named)}\tsuspended`],
          names: () => [response.org?.name ?? named],
        });
        return exitCodes.done;
      }),
    );
  org
    .command("resume <org>")
    .description("Let a suspended org go on where it was.")
    .examples("muster org resume acme")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, named: string, { reason = "" }: { readonly reason?: string }) => {
        const response = await call.client(OrgService).resumeOrg({ org: named, reason }, call.once());
        call.output.print({
          schema: ResumeOrgResponseSchema,
          message: response,
          text: () => [`${sanitize(response.org?.name ?? named)}\tresumed`],
          names: () => [response.org?.name ?? named],
        });
        return exitCodes.done;
      }),
    );
}

function registerDelete(org: MusterCommand, cli: Cli): void {
  org
    .command("delete <org>")
    .description(
      "Delete a suspended org for ever, with all its jobs, workers, keys, files and its audit log.",
    )
    .examples('muster org delete acme --reason "left us" --confirm acme')
    .requiredOption("--reason <text>", "why: for the audit log of your own org")
    .notes("Its audit log goes, too: keep it before, with muster audit export --org acme.")
    .action(
      cli.action(async (call, named: string, { reason }: { readonly reason: string }) => {
        const { org: found } = await call.client(OrgService).getOrg({ org: named }, call.once());
        const name = found?.name ?? named;
        await confirmDanger(call, {
          level: "severe",
          what: `Delete the org ${name} with all that it has`,
          expected: name,
          command: `muster org delete ${quote(name)} --reason ${quote(reason)}`,
        });
        const request = { org: found?.orgId ?? named, confirmName: name, reason };
        const response = await call.client(OrgService).deleteOrg(request, call.once());
        call.output.print({
          schema: DeleteOrgResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\tdeleted`],
          names: () => [name],
        });
        call.output.note("Its keys are refused from now on; the rest is removed step by step.");
        return exitCodes.done;
      }),
    );
}

async function createOrg(call: Call, name: string, keyFile: string | undefined): Promise<number> {
  const { output } = call;
  if (output.format === "name" && keyFile === undefined) {
    throw usageError(
      "-o name prints the name alone, and the text of the key is never shown again",
      "Give --key-file, or leave -o name out.",
    );
  }
  const make = () => call.client(OrgService).createOrg({ name }, call.once());
  const response =
    keyFile === undefined
      ? await make()
      : await keepNewKey(call.surroundings, keyFile, async () => {
          const answer = await make();
          const suggestion = `Make another: muster key create admin --scope admin --org ${name}`;
          return { answer, key: answer.text, made: `the org ${name} is made`, suggestion };
        });
  const shown = keyFile === undefined ? response : { ...response, text: "" };
  output.print({
    schema: CreateOrgResponseSchema,
    message: create(CreateOrgResponseSchema, shown),
    text: () => (keyFile === undefined ? [sanitize(response.text)] : []),
    names: () => [name],
  });
  const where = keyFile === undefined ? "This is its text; it is not shown again." : `It is in ${keyFile}.`;
  output.note(`Made the org ${name} (${response.org?.orgId ?? ""}) and its first admin key. ${where}`);
  return exitCodes.done;
}

function orgTable(orgs: readonly Org[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "NAME" },
    { title: "STATE" },
    output.isTty ? ({ title: "AGE", align: "right" } as const) : { title: "CREATED" },
    { title: "ID", drop: 2 },
    { title: "REASON", drop: 1 },
  ];
  const rows = orgs.map((org): Cell[] => [
    org.name,
    stateOf(org),
    output.isTty ? showAge(org.createTime, nowMs) : showTime(org.createTime),
    org.orgId,
    org.suspendReason || "-",
  ]);
  return layTable(columns, rows, output.layout);
}

function orgFacts(org: Org): [string, string][] {
  return [
    ["name", org.name],
    ["id", org.orgId],
    ["state", stateOf(org)],
    ["created", showTime(org.createTime)],
    ...(org.suspendTime === undefined
      ? []
      : [
          ["suspended", showTime(org.suspendTime)] satisfies [string, string],
          ["reason", org.suspendReason] satisfies [string, string],
        ]),
    ...(org.deleteTime === undefined
      ? []
      : [["deleted", showTime(org.deleteTime)] satisfies [string, string]]),
  ];
}

function stateOf(org: Org): string {
  if (org.deleteTime !== undefined) return "deleting";
  return org.suspendTime === undefined ? "active" : "suspended";
}
