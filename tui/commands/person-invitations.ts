import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  AcceptInvitationResponseSchema,
  CreateInvitationResponseSchema,
  CreatePasswordResetResponseSchema,
  type Invitation,
  ListInvitationsResponseSchema,
  PersonService,
  RevokeInvitationResponseSchema,
} from "@muster/client/v1/person_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { durationOption } from "../input/options.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { showAge, showTimeAndAge } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { readRole, roleWord } from "./person-roles.ts";

interface CodeOptions {
  readonly expires?: number;
  readonly reason?: string;
}

/** Registers the verbs of `muster person` that deal with codes: invitations, and passwords that were lost. */
export function registerInvitations(person: MusterCommand, cli: Cli): void {
  registerInvite(person, cli);
  registerInvitationList(person, cli);
  registerUninvite(person, cli);
  registerReset(person, cli);
}

function registerInvite(person: MusterCommand, cli: Cli): void {
  person
    .command("invite [email]")
    .description("Invite somebody to the org. The code is shown this once; stdout has nothing else.")
    .examples(
      "muster person invite ada@example.com --role operator",
      "muster login -c prod --email ada@example.com --invitation CODE",
    )
    .option("--role <role>", "what they may do: viewer, operator, admin", "viewer")
    .option("--expires <duration>", "how long it can be used (7d)", durationOption)
    .notes("Without an e-mail it is for whoever has the code. It is used once: by login, or person accept.")
    .action(
      cli.action(
        async (
          call,
          email: string | undefined,
          options: { readonly role: string; readonly expires?: number },
        ) => {
          const { role, expires } = options;
          const ttl = expires === undefined ? {} : { ttl: durationFromMs(expires) };
          const request = { email: email ?? "", role: readRole(role), ...ttl };
          const response = await call.client(PersonService).createInvitation(request, call.once());
          call.output.print({
            schema: CreateInvitationResponseSchema,
            message: response,
            text: () => [sanitize(response.code)],
            names: () => [sanitize(response.code)],
          });
          call.output.note("This is the code; it is not shown again.");
          return exitCodes.done;
        },
      ),
    );
  person
    .command("accept <code>")
    .description("Become a member of the org that has invited you.")
    .examples("muster person accept CODE")
    .action(
      cli.action(async (call, code: string) => {
        const response = await call.client(PersonService).acceptInvitation({ code }, call.once());
        call.output.print({
          schema: AcceptInvitationResponseSchema,
          message: response,
          text: () => [`You are ${roleWord(response.role)} of ${sanitize(response.orgId)}.`],
          names: () => [response.orgId],
        });
        return exitCodes.done;
      }),
    );
}

function registerInvitationList(person: MusterCommand, cli: Cli): void {
  withPages(person.command("invitations"))
    .description("List the invitations that can still be used, oldest first. Their codes are shown no more.")
    .examples("muster person invitations", "muster person invitations --all --json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { pageSize, pageToken };
          const response = await call.client(PersonService).listInvitations(request, call.once());
          return { rows: response.invitations, nextPageToken: response.nextPageToken };
        });
        const { rows: invitations, nextPageToken } = page;
        call.output.print({
          schema: ListInvitationsResponseSchema,
          message: create(ListInvitationsResponseSchema, { invitations, nextPageToken }),
          text: () => invitationTable(invitations, call.output, call.surroundings.now()),
          names: () => invitations.map(({ invitationId }) => invitationId),
        });
        notePage(call.output, page, "invitations");
        return exitCodes.done;
      }),
    );
}

function registerUninvite(person: MusterCommand, cli: Cli): void {
  person
    .command("uninvite <invitation>")
    .description("Take an invitation back: its code is no longer good.")
    .examples('muster person uninvite inv_01h455vb4pex5vsknk084sn02q --reason "left"')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, invitationId: string, { reason = "" }: CodeOptions) => {
        const request = { invitationId, reason };
        const response = await call.client(PersonService).revokeInvitation(request, call.once());
        call.output.print({
          schema: RevokeInvitationResponseSchema,
          message: response,
          text: () => [`${sanitize(invitationId)}\trevoked`],
          names: () => [invitationId],
        });
        return exitCodes.done;
      }),
    );
}

function registerReset(person: MusterCommand, cli: Cli): void {
  person
    .command("reset-password <person>")
    .description(
      "Make a code by which a person sets a new password. It is shown this once; stdout has nothing else.",
    )
    .examples(
      "muster person reset-password ada@example.com --confirm ada@example.com",
      "muster password reset CODE",
    )
    .option("--expires <duration>", "how long it can be used (1d)", durationOption)
    .option("--reason <text>", "for people")
    .notes(
      "Whoever has the code gets into the account: give it to its owner alone. It is good until the password is another.",
    )
    .action(
      cli.action(async (call, named: string, { expires, reason = "" }: CodeOptions) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Make a code that sets the password of ${named}`,
          command: `muster person reset-password ${quote(named)}`,
        });
        const ttl = expires === undefined ? {} : { ttl: durationFromMs(expires) };
        const request = { person: named, reason, ...ttl };
        const response = await call.client(PersonService).createPasswordReset(request, call.once());
        call.output.print({
          schema: CreatePasswordResetResponseSchema,
          message: response,
          text: () => [sanitize(response.code)],
          names: () => [sanitize(response.code)],
        });
        call.output.note("This is the code; it is not shown again.");
        return exitCodes.done;
      }),
    );
}

function invitationTable(invitations: readonly Invitation[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "INVITATION" },
    { title: "FOR" },
    { title: "ROLE" },
    { title: "AGE", align: "right", drop: 1 },
    { title: "ENDS" },
  ] as const;
  const rows = invitations.map((one): Cell[] => [
    one.invitationId,
    one.email || "whoever has the code",
    roleWord(one.role),
    showAge(one.createTime, nowMs),
    showTimeAndAge(one.expireTime, nowMs),
  ]);
  return layTable(columns, rows, output.layout);
}
