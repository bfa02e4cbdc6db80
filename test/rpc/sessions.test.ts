import { Code } from "@connectrpc/connect";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { SessionState } from "@muster/client/v1/session";
import { SessionService } from "@muster/client/v1/session_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { readPublished } from "../../server/link/published.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../support/database.ts";
import { attachWorker, hello } from "../support/fleet.ts";
import { failure, openApi, type TestApi, violationsOf } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

async function fleet() {
  const client = await api.client();
  const { attached } = await attachWorker(testCoordinator(db), client.orgId, {
    name: "mac",
    hello: hello({
      published: readPublished({
        linkedProjects: [
          {
            $typeName: "muster.v1.LinkedProject",
            project: "acme/web",
            root: "/src/web",
            remoteUrl: "git@example.com:web",
            linkedBy: "me",
            linkTime: { $typeName: "google.protobuf.Timestamp", seconds: 5n, nanos: 0 },
          },
        ],
        sessions: [
          {
            $typeName: "muster.v1.Session",
            sessionId: "web/main ü",
            label: "Main",
            agent: "codex",
            agentSessionId: "0199",
            state: SessionState.BUSY,
            role: "review",
            terminalTarget: "tmux:1",
            archived: false,
            primary: true,
            project: "acme/web",
            // What only the server knows is not believed.
            workerId: "wrk_forged",
            workerName: "forged",
            usable: false,
            unusableReason: "forged",
          },
        ],
      }),
    }),
  });
  const workerId = encodeId("worker", attached.workerId);
  return { client, workerId, sessions: client.of(SessionService), jobs: client.of(JobService) };
}

describe("sessions", () => {
  test("are shown whole, with what the server knows of them", async () => {
    const { sessions, workerId } = await fleet();
    const { session, waitingJobs } = await sessions.getSession({ sessionId: "web/main ü" });
    expect(session).toMatchObject({
      sessionId: "web/main ü",
      label: "Main",
      agent: "codex",
      agentSessionId: "0199",
      state: SessionState.BUSY,
      role: "review",
      terminalTarget: "tmux:1",
      primary: true,
      archived: false,
      project: "acme/web",
      workerId,
      workerName: "mac",
      usable: true,
      unusableReason: "",
    });
    expect(session?.registerTime).toBeDefined();
    expect(waitingJobs).toBe(0);
    for (const worker of ["mac", workerId]) {
      expect((await sessions.listSessions({ worker })).sessions).toHaveLength(1);
      expect((await sessions.listLinkedProjects({ worker })).linkedProjects).toMatchObject([
        {
          workerId,
          workerName: "mac",
          linkedProject: { project: "acme/web", root: "/src/web", linkTime: { seconds: 5n } },
        },
      ]);
    }
  });

  test("are archived, made primary and removed; each call that is wrong says what is", async () => {
    const { sessions } = await fleet();
    const sessionId = "web/main ü";
    const archived = await sessions.archiveSession({ sessionId, reason: "old" });
    expect(archived.session).toMatchObject({ archived: true, usable: false });
    expect(archived.session?.archiveTime).toBeDefined();
    expect((await sessions.unarchiveSession({ sessionId })).session).toMatchObject({ usable: true });
    expect((await sessions.setPrimarySession({ sessionId })).session?.primary).toBe(true);
    const published = await failure(sessions.removeSession({ sessionId }));
    expect(published).toMatchObject({
      code: Code.FailedPrecondition,
      detail: { reason: "SESSION_PUBLISHED", metadata: { sessionId, worker: "mac" } },
    });
    const wrong = await failure(sessions.archiveSession({ sessionId: "", reason: "x".repeat(501) }));
    expect(violationsOf(wrong)).toEqual(["reason must have at most 500 characters", "sessionId is required"]);
    const unknown = await failure(sessions.getSession({ sessionId: "a b" }));
    expect(unknown).toMatchObject({ code: Code.NotFound, detail: { reason: "SESSION_NOT_FOUND" } });
    expect((await failure(sessions.listSessions({ worker: "wrk_1" }))).code).toBe(Code.InvalidArgument);
    expect((await failure(sessions.listSessions({ worker: "nobody" }))).code).toBe(Code.NotFound);
    expect((await failure(sessions.listSessions({ project: "a b" }))).code).toBe(Code.InvalidArgument);
    expect((await failure(sessions.listSessions({ pageToken: "x" }))).detail?.reason).toBe(
      "PAGE_TOKEN_INVALID",
    );
  });

  test("of another org are not there, nor are its workers", async () => {
    const { sessionId, workerId } = { sessionId: "web/main ü", ...(await fleet()) };
    const other = (await api.client()).of(SessionService);
    const calls = [
      () => other.getSession({ sessionId }),
      () => other.archiveSession({ sessionId }),
      () => other.setPrimarySession({ sessionId }),
      () => other.removeSession({ sessionId }),
    ];
    for (const call of calls) expect((await failure(call())).detail?.reason).toBe("SESSION_NOT_FOUND");
    expect((await failure(other.listSessions({ worker: workerId }))).detail?.reason).toBe("WORKER_NOT_FOUND");
    expect((await other.listSessions({})).sessions).toEqual([]);
    expect((await other.listLinkedProjects({})).linkedProjects).toEqual([]);
  });
});

describe("the target of a job", () => {
  test("comes back as it was given, a worker by its id", async () => {
    const { jobs, client, workerId } = await fleet();
    await client.of(ProjectService).putProject({ project: { name: "acme/web" } });
    const targets = [
      [
        { case: "worker", value: "mac" },
        { case: "worker", value: workerId },
      ],
      [{ case: "sessionId", value: "web/main ü" }],
      [{ case: "projectSession", value: true }],
    ] as const;
    for (const [target, shown = target] of targets) {
      const { jobId } = await jobs.submitJob({ job: { kind: "k", project: "acme/web", target: { target } } });
      const { job } = await jobs.getJob({ jobId });
      expect(job?.spec?.target?.target).toEqual(shown);
    }
    const { jobId } = await jobs.submitJob({
      job: { kind: "k", target: { target: { case: "projectSession", value: false } } },
    });
    expect((await jobs.getJob({ jobId })).job?.spec?.target).toBeUndefined();
  });

  test.each([
    [{ case: "worker", value: "wrk_nonsense" }, "job.target.worker"],
    [{ case: "worker", value: "" }, "job.target.worker"],
    [{ case: "sessionId", value: "x".repeat(201) }, "job.target.sessionId"],
    [{ case: "sessionId", value: "" }, "job.target.sessionId"],
    [{ case: "projectSession", value: true }, "job.target.projectSession"],
  ] as const)("of the form %j is refused", async (target, field) => {
    const { jobs } = await fleet();
    const error = await failure(jobs.submitJob({ job: { kind: "k", target: { target } } }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.detail?.violations.map((one) => one.field)).toEqual([field]);
  });

  test("of another org does not exist", async () => {
    const { workerId } = await fleet();
    const jobs = (await api.client()).of(JobService);
    for (const worker of [workerId, "mac"]) {
      const target = { case: "worker" as const, value: worker };
      const error = await failure(jobs.submitJob({ job: { kind: "k", target: { target } } }));
      expect(error).toMatchObject({
        code: Code.NotFound,
        detail: { reason: "WORKER_NOT_FOUND", violations: [{ field: "job.target.worker" }] },
      });
    }
  });
});
