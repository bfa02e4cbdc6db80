import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { services } from "../../tui/rpc/services.ts";
import { everyScreen } from "../../tui/top/screens/views.ts";
import type { Equal } from "../../tui/top/shell/bindings.ts";
import { runCli } from "./run-cli.ts";
import { stage } from "./top/stage.ts";

/*
 * What the API can do, the command line and the console can do too; what one of them cannot is declared here, with the
 * reason. A gap that is closed must leave its list.
 */

const methods = services.flatMap((service) =>
  service.methods.map((method) => ({
    name: `${service.name}.${method.name}`,
    service: service.name,
    localName: method.localName,
    isReading: method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
  })),
);

/** Methods that no command calls. */
const noCommand: Readonly<Record<string, string>> = {
  "ArtifactService.CreateArtifact": "a handler makes artifacts, under its lease",
  "ArtifactService.CommitArtifact": "a handler makes artifacts, under its lease",
  "WatchService.WatchChanges": "for programs that keep a copy; people watch lists (WatchJobs)",
  "WatchService.ListChanges": "for programs that keep a copy; people watch lists (WatchJobs)",
  "WatchService.WatchWorkers": "the console's; a worker list is read, not followed, on the command line",
};

/** Methods that change something, and no key of the console does. */
const noKey: Readonly<Record<string, string>> = {
  "ArtifactService.CreateArtifact": "a handler makes artifacts",
  "ArtifactService.CommitArtifact": "a handler makes artifacts",
  "BatchService.SubmitBatch": "a batch comes from a file or a program",
  "EnrolmentService.CreateEnrolment": "its token goes into a file of the machine that it is for",
  "EnrolmentService.RevokeEnrolment": "its token lives an hour at most",
  "EnrolmentService.Enrol": "a machine enrols itself",
  "EnrolmentService.EnrolOwnWorker": "its key goes into a file of the machine that it is for",
  "EnrolmentService.PutEnrolmentPolicy": "an admin's, seldom: a command",
  "WorkerAdminService.LimitWorker": "an admin's, seldom: a command",
  "WorkerAdminService.SetWorkerAvailability": "its owner's, by a command on the machine",
  "JobService.CancelJob": "covered by ActOnJobs, which also cancels one",
  "JobService.ParkJob": "covered by ActOnJobs",
  "JobService.UnparkJob": "covered by ActOnJobs",
  "JobService.DeleteJob": "covered by ActOnJobs",
  "JobService.DiscardDeadLetter": "covered by ActOnJobs",
  "OrgService.CreateOrg": "its key goes into a file; an installation's orgs are kept on the command line",
  "OrgService.SuspendOrg": "an installation's orgs are kept on the command line",
  "OrgService.ResumeOrg": "an installation's orgs are kept on the command line",
  "OrgService.DeleteOrg": "an installation's orgs are kept on the command line",
  ...Object.fromEntries(
    [
      ..."Register Login LoginByProvider Refresh Logout ChangePassword ResetPassword".split(" "),
      ..."StartDeviceLogin FinishDeviceLogin ApproveDeviceLogin".split(" "),
      ..."StartGithubLink FinishGithubLink UnlinkGithub AcceptInvitation".split(" "),
    ].map((method) => [`PersonService.${method}`, "before the console opens, or of one's own account"]),
  ),
  ...Object.fromEntries(
    "CreateInvitation RevokeInvitation CreatePasswordReset CreatePerson SetRole SetDisabled RemovePerson"
      .split(" ")
      .map((method) => [`PersonService.${method}`, "the console has no list of people"]),
  ),
  "ScheduleService.BackfillSchedule": "on the command line",
  "KeyService.RegisterKey": "its hash comes from another system's table: typed by nobody",
  "SettingsService.PutSettings": "defaults are set once, by whoever sets up an org: not from a screen",
  ...Object.fromEntries(
    "PutTemplate RunTemplate RateTemplate DeleteTemplate"
      .split(" ")
      .map((method) => [`TemplateService.${method}`, "the console has no list of templates"]),
  ),
  "SkillService.PutSkill": "a document is written in an editor: on the command line",
  "SkillService.DeleteSkill": "the console has no list of documents",
  ...Object.fromEntries(
    "Create Update Delete Rotate Test Replay"
      .split(" ")
      .map((act) => [
        `WebhookService.${act}Webhook${act === "Rotate" ? "Secret" : act === "Replay" ? "Deliveries" : ""}`,
        "other services' matter, set up once: on the command line",
      ]),
  ),
  "WorkerAdminService.CreateWorker": "its key goes into a file of the machine that it is for",
};

const sources = filesOf(new URL("../../tui", import.meta.url).pathname);

describe("what the API can do", () => {
  test("a command does, or says why not", () => {
    const missing = ofPeople().filter(({ service, localName }) => !isCalled(service, localName));
    expect(missing.map(({ name }) => name).sort()).toEqual(Object.keys(noCommand).sort());
  });

  test("a key of the console does where it changes something, or says why not", () => {
    const done = new Set(consoleEquals().map(({ method }) => method));
    const missing = ofPeople().filter(({ name, isReading }) => !isReading && !done.has(name));
    expect(missing.map(({ name }) => name).sort()).toEqual(Object.keys(noKey).sort());
  });
});

describe("what the console can do", () => {
  test("is a method that exists, or a context of this machine", () => {
    const known = new Set(methods.map(({ name }) => name));
    const isLocal = ({ command, method }: Equal) => method === "" && command.startsWith("context ");
    expect(consoleEquals().filter((equal) => !isLocal(equal) && !known.has(equal.method))).toEqual([]);
  });

  test("is a command that exists", async () => {
    const commands = [...new Set(consoleEquals().map(({ command }) => command))].sort();
    expect(commands.length).toBeGreaterThan(10);
    for (const command of commands) {
      const { exitCode, stdout } = await runCli([...command.split(" "), "--help"]);
      expect([command, exitCode]).toEqual([command, 0]);
      // Help of the command itself, not of its noun; `server` of `doctor server` is an argument that it knows.
      const usage = /^Usage: muster ([a-z -]*[a-z])/m.exec(stdout)?.[1] ?? "";
      expect(command.startsWith(usage), `${command}: ${usage}`).toBe(true);
      const [argument] = command.slice(usage.length).trim().split(" ");
      if (argument) expect(stdout).toMatch(new RegExp(`\\b${argument}\\b`));
      else expect(usage).toBe(command);
    }
  });
});

// The worker's own service is spoken by daemons, not by people.
function ofPeople() {
  return methods.filter(({ service }) => service !== "WorkerService");
}

// A file that imports the service and calls a method of that name.
function isCalled(service: string, localName: string): boolean {
  return sources.some(
    (text) => new RegExp(`\\b${service}\\b`).test(text) && new RegExp(`\\.${localName}\\b`).test(text),
  );
}

function consoleEquals(): Equal[] {
  const { shell } = stage();
  return everyScreen(shell).flatMap((screen) => [
    ...screen.equals,
    ...screen.keys().flatMap(({ equal, inverse, alike }) => [equal ?? [], inverse ?? [], alike ?? []].flat()),
  ]);
}

// The console has a test of its own; here it must not stand in for a command.
function filesOf(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return ["dist", "top", "node_modules"].includes(entry.name) ? [] : filesOf(path);
    }
    return entry.name.endsWith(".ts") ? [readFileSync(path, "utf8")] : [];
  });
}
