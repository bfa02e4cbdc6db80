import { create } from "@bufbuild/protobuf";
import {
  ListPeopleResponseSchema,
  type Person,
  PersonSchema,
  PersonService,
  RemovePersonResponseSchema,
} from "@muster/client/v1/person_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showAge, showTimeAndAge } from "../output/time.ts";
import { obtainPassword } from "./login-ways.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerGithub } from "./person-github.ts";
import { registerInvitations } from "./person-invitations.ts";
import { readRole, roleWord } from "./person-roles.ts";

interface CreateOptions {
  readonly name?: string;
  readonly role: string;
  readonly admin?: boolean;
  readonly passwordStdin?: boolean;
  /** False: none. */
  readonly password?: boolean;
}

interface ReasonOptions {
  readonly reason?: string;
}

/** Registers `muster person`. */
export function registerPerson(cli: Cli): void {
  const person = cli.program
    .command("person")
    .alias("people")
    .description("Keep people: accounts, invitations, and what each may do in the org.");
  registerCreate(person, cli);
  registerInvitations(person, cli);
  registerList(person, cli);
  registerGet(person, cli);
  registerRole(person, cli);
  registerDisable(person, cli);
  registerRemove(person, cli);
  registerGithub(person, cli);
}

function registerCreate(person: MusterCommand, cli: Cli): void {
  person
    .command("create <email>")
    .description("Make an account that is a member of the org. Its password is asked for, never made up.")
    .examples(
      "muster person create ada@example.com --admin",
      "muster person create bo@example.com --role operator --password-stdin < password",
      "muster person create cy@example.com --no-password",
    )
    .option("--name <name>", "what they are called")
    .option("--role <role>", "what they may do: viewer, operator, admin", "viewer")
    .option("--admin", "the same as --role admin")
    .option("--password-stdin", "read the password from the first line of stdin")
    .option("--no-password", "no password logs in: they use the provider, or a code that is approved")
    .action(
      cli.action(async (call, email: string, options: CreateOptions) => {
        const { name = "", admin, role } = options;
        const hasNone = options.password === false;
        const wanted = readRole(admin === true ? "admin" : role);
        const question = `Password for ${email}: `;
        const password = hasNone ? "" : await obtainPassword(call, options, question, true);
        const request = { email, name, role: wanted, password };
        const { person: made } = await call.client(PersonService).createPerson(request, call.once());
        printPerson(call, made);
        return exitCodes.done;
      }),
    );
}

function registerList(person: MusterCommand, cli: Cli): void {
  withPages(person.command("list").alias("ls"))
    .description("List the members of the org, by e-mail.")
    .examples("muster person list", "muster person list --all --json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call.client(PersonService).listPeople({ pageSize, pageToken }, call.once());
          return { rows: response.people, nextPageToken: response.nextPageToken };
        });
        const { rows: people, nextPageToken } = page;
        call.output.print({
          schema: ListPeopleResponseSchema,
          message: create(ListPeopleResponseSchema, { people, nextPageToken }),
          text: () => peopleTable(people, call.output, call.surroundings.now()),
          names: () => people.map(({ email }) => email),
        });
        notePage(call.output, page, "people");
        return exitCodes.done;
      }),
    );
}

function registerGet(person: MusterCommand, cli: Cli): void {
  person
    .command("get <person>")
    .description("Show a member of the org, by e-mail or id.")
    .examples("muster person get ada@example.com")
    .action(
      cli.action(async (call, named: string) => {
        const response = await call.client(PersonService).getPerson({ person: named }, call.once());
        printPerson(call, response.person);
        return exitCodes.done;
      }),
    );
}

function registerRole(person: MusterCommand, cli: Cli): void {
  person
    .command("role <person> <role>")
    .description("Give a member another role: viewer, operator or admin. It holds within 2 s.")
    .examples('muster person role ada@example.com operator --reason "on call"')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, named: string, word: string, { reason = "" }: ReasonOptions) => {
        const request = { person: named, role: readRole(word), reason };
        const response = await call.client(PersonService).setRole(request, call.once());
        printPerson(call, response.person);
        return exitCodes.done;
      }),
    );
}

function registerDisable(person: MusterCommand, cli: Cli): void {
  for (const [verb, isDisabled, description] of [
    ["disable", true, "Keep a member from doing anything in the org, within 2 s."],
    ["enable", false, "Let a member act again."],
  ] as const) {
    person
      .command(`${verb} <person>`)
      .description(description)
      .examples(`muster person ${verb} ada@example.com`)
      .option("--reason <text>", "for people")
      .action(
        cli.action(async (call, named: string, { reason = "" }: ReasonOptions) => {
          if (isDisabled) {
            await confirmDanger(call, {
              level: "moderate",
              what: `Disable ${named}`,
              command: `muster person disable ${quote(named)}${why(reason)}`,
            });
          }
          const request = { person: named, disabled: isDisabled, reason };
          const response = await call.client(PersonService).setDisabled(request, call.once());
          printPerson(call, response.person);
          return exitCodes.done;
        }),
      );
  }
}

function registerRemove(person: MusterCommand, cli: Cli): void {
  person
    .command("remove <person>")
    .alias("rm")
    .description("Take a member out of the org. The account stays.")
    .examples("muster person remove ada@example.com --confirm ada@example.com")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, named: string, { reason = "" }: ReasonOptions) => {
        await confirmDanger(call, {
          level: "severe",
          what: `Remove ${named} from the org`,
          expected: named,
          command: `muster person remove ${quote(named)}${why(reason)}`,
        });
        const response = await call
          .client(PersonService)
          .removePerson({ person: named, reason }, call.once());
        call.output.print({
          schema: RemovePersonResponseSchema,
          message: response,
          text: () => [`${sanitize(named)}\tremoved`],
          names: () => [named],
        });
        return exitCodes.done;
      }),
    );
}

function why(reason: string): string {
  return reason === "" ? "" : ` --reason ${quote(reason)}`;
}

function printPerson(call: Call, person: Person | undefined): void {
  const shown = person ?? create(PersonSchema);
  const nowMs = call.surroundings.now();
  call.output.print({
    schema: PersonSchema,
    message: shown,
    text: () =>
      layFacts(
        [
          ["e-mail", shown.email],
          ["name", shown.name],
          ["role", roleWord(shown.role)],
          ["id", shown.personId],
          ["member", showTimeAndAge(shown.createTime, nowMs)],
          ["disabled", showTimeAndAge(shown.disableTime, nowMs)],
        ],
        call.output.layout,
      ),
    names: () => [shown.email],
  });
}

function peopleTable(people: readonly Person[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "E-MAIL" },
    { title: "NAME", drop: 2 },
    { title: "ROLE" },
    { title: "MEMBER", align: "right", drop: 1 },
    { title: "STATE" },
  ] as const;
  const rows = people.map((one): Cell[] => [
    one.email,
    one.name || "-",
    roleWord(one.role),
    showAge(one.createTime, nowMs),
    one.disableTime === undefined
      ? { text: "may act", style: "green" }
      : { text: "disabled", style: "yellow" },
  ]);
  return layTable(columns, rows, output.layout);
}
