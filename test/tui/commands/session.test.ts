import { createServer, type Server } from "node:http";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { makeError } from "@muster/client/errors";
import { JobService, type SubmitJobRequest } from "@muster/client/v1/job_service";
import { type Session, SessionSchema, SessionState } from "@muster/client/v1/session";
import { SessionService } from "@muster/client/v1/session_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let server: Server;
let input: RunInput;
let sessions: Map<string, Session>;
let submitted: SubmitJobRequest[];
let asked: object[];

const add = (init: MessageInitShape<typeof SessionSchema>) => {
  const session = create(SessionSchema, init);
  sessions.set(session.sessionId, session);
  return session;
};
const find = (sessionId: string) => {
  const session = sessions.get(sessionId);
  if (session) return session;
  throw makeError(Code.NotFound, "There is no such session", {
    reason: "SESSION_NOT_FOUND",
    suggestion: "Check the id.",
  });
};

beforeEach(async () => {
  sessions = new Map();
  submitted = [];
  asked = [];
  const adapter = connectNodeAdapter({
    routes: (router) => {
      router.service(JobService, {
        submitJob: (request) => {
          submitted.push(request);
          return { jobId: "job_1" };
        },
      });
      router.service(SessionService, {
        listSessions: (request) => {
          asked.push(request);
          return { sessions: [...sessions.values()] };
        },
        getSession: ({ sessionId }) => ({ session: find(sessionId), waitingJobs: 2 }),
        setPrimarySession: ({ sessionId }) => ({ session: { ...find(sessionId), primary: true } }),
        archiveSession: (request) => {
          asked.push(request);
          return { session: { ...find(request.sessionId), archived: true }, waitingJobs: 1 };
        },
        unarchiveSession: ({ sessionId }) => ({ session: find(sessionId) }),
        removeSession: ({ sessionId }) => {
          sessions.delete(find(sessionId).sessionId);
          return {};
        },
        listLinkedProjects: (request) => {
          asked.push(request);
          const linkedProject = { project: "acme/web", root: "/src\u0007", linkedBy: "me" };
          return { linkedProjects: [{ workerId: "wrk_1", workerName: "mac", linkedProject }] };
        },
      });
    },
  });
  server = createServer(adapter);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  const port = typeof bound === "object" ? bound?.port : 0;
  input = { env: { MUSTER_ADDRESS: `http://127.0.0.1:${port}`, MUSTER_API_KEY: "k" } };
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe("session", () => {
  test("list and get show whose a session is, and why no job can go there", async () => {
    add({
      sessionId: "web-main",
      project: "acme/web",
      primary: true,
      workerId: "wrk_1",
      workerName: "mac\u001b[2J",
      agent: "codex",
      state: SessionState.IDLE,
      usable: true,
      activeTime: timestampNow(),
    });
    add({ sessionId: "old", workerName: "box", unusableReason: "its worker drains", archived: true });
    const list = await runCli(["session", "list", "--project", "acme/web", "--archived"], input);
    expect(list.stdout.split("\n").slice(0, 3)).toEqual([
      "SESSION\tPROJECT\tWORKER\tAGENT\tSTATE\tACTIVE\tUSABLE",
      "web-main\tacme/web (primary)\tmac␛[2J\tcodex\tIDLE\t0s\tyes",
      "old\t-\tbox\t-\tUNSPECIFIED\t-\tno: its worker drains",
    ]);
    expect(asked).toMatchObject([{ project: "acme/web", archived: true }]);
    const get = await runCli(["session", "get", "old"], input);
    expect(get.stdout).toContain("usable\tno: its worker drains\nwaiting\t2 jobs wait for it by name\n");
    expect(get.stdout).toContain("archived\tby its worker\n");
    const json = await runCli(["session", "get", "web-main", "--json"], input);
    expect(JSON.parse(json.stdout)).toMatchObject({ session: { sessionId: "web-main" }, waitingJobs: 2 });
    expect((await runCli(["session", "list", "-o", "name"], input)).stdout).toBe("web-main\nold\n");
    expect((await runCli(["session", "get", "nothing"], input)).exitCode).toBe(3);
  });

  test("set-primary, archive, unarchive and remove say what they did, of several each", async () => {
    add({ sessionId: "one", project: "acme/web", unusableReason: "its worker is not connected" });
    add({ sessionId: "two" });
    const run = (...argv: string[]) => runCli(["session", ...argv], input);
    expect((await run("set-primary", "one")).stdout).toBe("one\tprimary of acme/web\n");
    expect((await run("archive", "one", "two", "--reason", "merged")).stdout).toBe(
      "one\tarchived\t1 job waits for it by name\ntwo\tarchived\t1 job waits for it by name\n",
    );
    expect(asked).toMatchObject([{ reason: "merged" }, { reason: "merged" }]);
    expect((await run("unarchive", "one")).stdout).toBe("one\tno: its worker is not connected\n");
    const removed = await run("remove", "one", "nothing", "two");
    expect(removed.stdout).toBe("one\tremoved\ntwo\tremoved\n");
    expect(removed.exitCode).toBe(12);
  });
});

test("project links shows who has a working copy", async () => {
  const ran = await runCli(["project", "links", "--worker", "mac"], input);
  expect(ran.stdout.split("\n")[1]).toBe("acme/web\tmac\t-\tme\t-\t/src␇");
  expect(asked).toMatchObject([{ worker: "mac" }]);
});

describe("job submit", () => {
  test.each([
    [["--worker", "mac"], { case: "worker", value: "mac" }],
    [["--session", "web-main"], { case: "sessionId", value: "web-main" }],
    [["--project", "acme/web", "--project-session"], { case: "projectSession", value: true }],
    [[], undefined],
  ])("with %j says who alone may run it", async (options, target) => {
    const ran = await runCli(["job", "submit", "agent.prompt", ...options], input);
    expect(ran.exitCode).toBe(0);
    expect(submitted[0]?.job?.target?.target).toEqual(target);
  });

  test.each([
    [["--worker", "mac", "--session", "s"], "Give one of them"],
    [["--project-session"], "--project <name>"],
  ])("with %j is refused before anything is sent", async (options, words) => {
    const ran = await runCli(["job", "submit", "agent.prompt", ...options], input);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(words);
    expect(submitted).toEqual([]);
  });

  test("takes the target of each job of a file, one of them", async () => {
    const directory = makeDirectory();
    const file = (target: string) => `kind: k\ntarget: ${target}\n`;
    const run = (target: string) =>
      runCli(["job", "submit", "-f", "-"], { ...input, cwd: directory.path, stdin: file(target) });
    const ran = await run("{ worker: mac, sessionId: s }");
    directory.remove();
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain("target: has worker and sessionId: give one of them");
    expect((await run("{ session: s }")).stderr).toContain("did you mean sessionId?");
  });
});
