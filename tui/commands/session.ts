import { create } from "@bufbuild/protobuf";
import { type Session, SessionState } from "@muster/client/v1/session";
import {
  ArchiveSessionResponseSchema,
  GetSessionResponseSchema,
  ListSessionsResponseSchema,
  RemoveSessionResponseSchema,
  SessionService,
  SetPrimarySessionResponseSchema,
  UnarchiveSessionResponseSchema,
} from "@muster/client/v1/session_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { showCounted, showTimeAndAge } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

interface ListOptions extends PageOptions {
  readonly project?: string;
  readonly worker?: string;
  readonly archived?: boolean;
}

interface ReasonOption {
  readonly reason?: string;
}

/** Registers `muster session`. */
export function registerSession(cli: Cli): void {
  const session = cli.program
    .command("session")
    .alias("sessions")
    .description("Look after the agent sessions that workers publish.");
  registerList(session, cli);
  registerGet(session, cli);
  registerPrimary(session, cli);
  registerArchive(session, cli);
  registerRemove(session, cli);
}

function registerList(session: MusterCommand, cli: Cli): void {
  withPages(session.command("list").alias("ls"))
    .description("List sessions by project: who has them, and whether jobs can go there.")
    .examples("muster session list", "muster session list --project acme/web --archived")
    .option("--project <name>", "only of this project")
    .option("--worker <worker>", "only of this worker: its name or id")
    .option("--archived", "archived ones, too")
    .action(
      cli.action(async (call, options: ListOptions) => {
        const { project = "", worker = "", archived = false } = options;
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { project, worker, archived, pageSize, pageToken };
          const response = await call.client(SessionService).listSessions(request, call.once());
          return { rows: response.sessions, nextPageToken: response.nextPageToken };
        });
        call.output.print({
          schema: ListSessionsResponseSchema,
          message: create(ListSessionsResponseSchema, {
            sessions: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => sessionTable(page.rows, call.output, call.surroundings.now()),
          names: () => page.rows.map((one) => one.sessionId),
        });
        notePage(call.output, page, "sessions");
        return exitCodes.done;
      }),
    );
}

function registerGet(session: MusterCommand, cli: Cli): void {
  session
    .command("get <session>")
    .description("Show everything about a session, and how many jobs wait for it.")
    .examples("muster session get web-main")
    .action(
      cli.action(async (call, sessionId: string) => {
        const response = await call.client(SessionService).getSession({ sessionId }, call.once());
        call.output.print({
          schema: GetSessionResponseSchema,
          message: response,
          text: () => (response.session ? sessionFacts(response.session, response.waitingJobs, call) : []),
          names: () => [sessionId],
        });
        return exitCodes.done;
      }),
    );
}

function registerPrimary(session: MusterCommand, cli: Cli): void {
  session
    .command("set-primary <session>")
    .description("Make a session the first choice of its project, instead of the one that was.")
    .examples('muster session set-primary web-main --reason "the laptop is away"')
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, sessionId: string, { reason = "" }: ReasonOption) => {
        const response = await call
          .client(SessionService)
          .setPrimarySession({ sessionId, reason }, call.once());
        call.output.print({
          schema: SetPrimarySessionResponseSchema,
          message: response,
          text: () => [line(sessionId, `primary of ${response.session?.project ?? ""}`)],
          names: () => [sessionId],
        });
        return exitCodes.done;
      }),
    );
}

function registerArchive(session: MusterCommand, cli: Cli): void {
  session
    .command("archive <session...>")
    .description("Route no job to a session any more. Jobs that name it wait.")
    .examples("muster session archive web-old", 'muster session archive web-old --reason "merged"')
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, ids: string[], { reason = "" }: ReasonOption) =>
        forEachId(call, ids, async (sessionId) => {
          const response = await call
            .client(SessionService)
            .archiveSession({ sessionId, reason }, call.once());
          const { waitingJobs } = response;
          call.output.printOne({
            schema: ArchiveSessionResponseSchema,
            message: response,
            text: () => [line(sessionId, `archived${waitingJobs > 0 ? `\t${waiting(waitingJobs)}` : ""}`)],
            names: () => [sessionId],
          });
        }),
      ),
    );
  session
    .command("unarchive <session...>")
    .description("Let jobs be routed to archived sessions again.")
    .examples("muster session unarchive web-old")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, ids: string[], { reason = "" }: ReasonOption) =>
        forEachId(call, ids, async (sessionId) => {
          const response = await call
            .client(SessionService)
            .unarchiveSession({ sessionId, reason }, call.once());
          call.output.printOne({
            schema: UnarchiveSessionResponseSchema,
            message: response,
            text: () => [line(sessionId, response.session ? usableText(response.session) : "unarchived")],
            names: () => [sessionId],
          });
        }),
      ),
    );
}

function registerRemove(session: MusterCommand, cli: Cli): void {
  session
    .command("remove <session...>")
    .alias("rm")
    .description("Remove sessions that no connected worker publishes: their ids are free then.")
    .examples('muster session remove web-old --reason "its laptop is gone"')
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, ids: string[], { reason = "" }: ReasonOption) =>
        forEachId(call, ids, async (sessionId) => {
          const response = await call
            .client(SessionService)
            .removeSession({ sessionId, reason }, call.once());
          call.output.printOne({
            schema: RemoveSessionResponseSchema,
            message: response,
            text: () => [line(sessionId, "removed")],
            names: () => [sessionId],
          });
        }),
      ),
    );
}

function sessionTable(sessions: readonly Session[], output: Output, nowMs: number): string[] {
  const columns = [
    { title: "SESSION" },
    { title: "PROJECT" },
    { title: "WORKER" },
    { title: "AGENT", drop: 2 },
    { title: "STATE", drop: 3 },
    { title: "ACTIVE", align: "right", drop: 1 },
    { title: "USABLE" },
  ] as const;
  const rows = sessions.map((one): Cell[] => [
    one.sessionId,
    `${one.project || "-"}${one.primary ? " (primary)" : ""}`,
    one.workerName || one.workerId,
    one.agent || "-",
    SessionState[one.state] ?? "UNKNOWN",
    output.age(one.activeTime, nowMs),
    usableCell(one),
  ]);
  return layTable(columns, rows, output.layout);
}

function sessionFacts(session: Session, waitingJobs: number, call: Call): string[] {
  const nowMs = call.surroundings.now();
  return layFacts(
    [
      ["session", session.sessionId],
      ["label", session.label],
      ["project", `${session.project}${session.primary ? " (primary)" : ""}`],
      ["worker", session.workerName === "" ? "" : `${session.workerName} (${session.workerId})`],
      ["usable", usableCell(session)],
      ["waiting", waitingJobs > 0 ? waiting(waitingJobs) : undefined],
      ["state", SessionState[session.state] ?? "UNKNOWN"],
      ["agent", session.agent],
      ["agent session", session.agentSessionId],
      ["role", session.role],
      ["terminal", session.terminalTarget],
      ["active", call.output.timeAndAge(session.activeTime, nowMs)],
      ["archived", archivedText(session, nowMs)],
      ["registered", call.output.timeAndAge(session.registerTime, nowMs)],
    ],
    call.output.layout,
  );
}

function archivedText(session: Session, nowMs: number): string | undefined {
  if (session.archiveTime !== undefined)
    return `by an operator, ${showTimeAndAge(session.archiveTime, nowMs)}`;
  return session.archived ? "by its worker" : undefined;
}

function usableCell(session: Session): Cell {
  return { text: usableText(session), style: session.usable ? "green" : "yellow" };
}

function usableText({ usable, unusableReason }: Session): string {
  return usable ? "yes" : `no: ${unusableReason}`;
}

function waiting(jobs: number): string {
  return `${showCounted(jobs, "job")} ${jobs === 1 ? "waits" : "wait"} for it by name`;
}

function line(sessionId: string, text: string): string {
  return `${sanitize(sessionId)}\t${text.split("\t").map(sanitize).join("\t")}`;
}
