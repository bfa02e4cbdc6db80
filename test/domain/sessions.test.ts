import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Caller } from "../../server/domain/context.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { submitBatch, submitJob } from "../../server/domain/jobs.ts";
import { putProject } from "../../server/domain/projects.ts";
import { changeLinks } from "../../server/domain/publications.ts";
import type { Published, PublishedSession } from "../../server/domain/rules/publications.ts";
import {
  archiveSession,
  getSession,
  listLinkedProjects,
  listSessions,
  removeSession,
  setPrimarySession,
  unarchiveSession,
} from "../../server/domain/sessions.ts";
import { closeLink } from "../../server/store/links.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, workerCaller } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const session = (sessionId: string, more: Partial<PublishedSession> = {}): PublishedSession => ({
  sessionId,
  project: "acme/web",
  label: "",
  agent: "codex",
  agentSessionId: "a",
  state: 1,
  role: "",
  terminalTarget: "",
  activeAt: null,
  isArchived: false,
  saysPrimary: false,
  ...more,
});
const of = (...sessions: PublishedSession[]): Published => ({ projects: [], sessions, refused: [] });
const page = { pageSize: 0, pageToken: "" };
const everything = { ...page, project: null, worker: null, isWithArchived: false };
const reason = "";

async function org() {
  const orgId = await db.orgId();
  return { orgId, caller: testCaller(orgId) };
}

const attach = (orgId: string, name: string, published: Published, caller?: Caller) =>
  attachWorker(c, orgId, { name, hello: hello({ published }), ...(caller ? { caller } : {}) });

const primaryOf = async (caller: Caller) =>
  (await listSessions(c, caller, everything)).items
    .filter((one) => one.isPrimary)
    .map((one) => one.sessionId);

describe("publishing", () => {
  test("with the Hello and over the link: all that is published before is replaced", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", {
      projects: [
        { project: "acme/web", root: "/web", remoteUrl: "", linkedAt: null, linkedBy: "me" },
        { project: "acme/api", root: "/api", remoteUrl: "", linkedAt: null, linkedBy: "me" },
      ],
      sessions: [session("one", { saysPrimary: true }), session("two")],
      refused: [],
    });
    expect(worker.attached.publication).toMatchObject({ conflicts: [], isChanged: true });
    const first = await listSessions(c, caller, everything);
    expect(first.items).toMatchObject([
      { sessionId: "one", isPrimary: true, workerName: "w", unusableReason: null },
      { sessionId: "two", isPrimary: false },
    ]);
    const again = await changeLinks(c, orgId, worker.link, {
      projects: [{ project: "acme/api", root: "/moved", remoteUrl: "", linkedAt: null, linkedBy: "me" }],
      sessions: [session("one", { saysPrimary: true })],
      refused: [],
    });
    expect(again).toMatchObject({ conflicts: [], isChanged: true });
    expect(
      (await listLinkedProjects(c, caller, { ...page, project: null, worker: null })).items,
    ).toMatchObject([{ project: "acme/api", root: "/moved", workerName: "w" }]);
    expect(await getSession(c, caller, "two")).toMatchObject({
      unusableReason: "its worker no longer publishes it",
    });
    const same = of(session("one", { saysPrimary: true }));
    await changeLinks(c, orgId, worker.link, same);
    expect(await changeLinks(c, orgId, worker.link, same)).toMatchObject({ isChanged: false });
  });

  test("over a link that is no longer the worker's changes nothing", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", of(session("one")));
    await attach(orgId, "w", of(session("one")), worker.caller);
    expect(await changeLinks(c, orgId, worker.link, of())).toBeNull();
    expect(await getSession(c, caller, "one")).toMatchObject({ isPublished: true });
  });

  test("a worker that says nothing of sessions, as old ones do, withdraws them and is welcome", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", of(session("one")));
    const { attached } = await attach(orgId, "w", of(), worker.caller);
    expect(attached.publication.conflicts).toEqual([]);
    expect(await getSession(c, caller, "one")).toMatchObject({ isPublished: false });
  });

  test("of the same session by many workers at once: one owns it, the others are told who", async () => {
    const { orgId, caller } = await org();
    const workers = await Promise.all(
      Array.from({ length: 8 }, async (_, n) => attach(orgId, `w${n}`, of(session("shared")))),
    );
    const { workerId, workerName } = await getSession(c, caller, "shared");
    const losers = workers.filter((one) => one.attached.workerId !== workerId);
    expect(losers).toHaveLength(7);
    for (const { attached } of losers) {
      expect(attached.publication.conflicts).toMatchObject([{ sessionId: "shared", workerId, workerName }]);
    }
    const [row] =
      await db.admin`select contested_by, contested_at from muster.sessions where org_id = ${orgId}`;
    expect(losers.map((one) => one.attached.workerId)).toContain(row?.["contested_by"]);
    expect(row?.["contested_at"]).not.toBeNull();
  });

  test("of a primary session by many workers at once leaves one, and the others as sessions like any", async () => {
    const { orgId, caller } = await org();
    const workers = await Promise.all(
      Array.from({ length: 8 }, async (_, n) =>
        attach(orgId, `w${n}`, of(session(`s${n}`, { saysPrimary: true }))),
      ),
    );
    const primary = await primaryOf(caller);
    expect(primary).toHaveLength(1);
    expect((await listSessions(c, caller, everything)).items).toHaveLength(8);
    const told = workers.flatMap((one) => one.attached.publication.conflicts);
    expect(told).toHaveLength(7);
    for (const one of told) expect(one.detail).toContain(primary[0]);
  });

  test("takes a session over once its owner has withdrawn it and is away for a day", async () => {
    const { orgId, caller } = await org();
    const owner = await attach(orgId, "owner", of(session("s", { label: "old", saysPrimary: true })));
    await changeLinks(c, orgId, owner.link, of());
    await closeLink(c.db, orgId, owner.link);
    const other = await workerCaller(c, orgId, "other");
    const publish = async () => (await attach(orgId, "other", of(session("s")), other)).attached.publication;
    expect((await publish()).conflicts).toMatchObject([
      { detail: expect.stringContaining("session remove s") },
    ]);
    await db.advanceClock(24 * 3_600_000 + 1_000);
    expect((await publish()).conflicts).toEqual([]);
    expect(await getSession(c, caller, "s")).toMatchObject({
      workerName: "other",
      label: "",
      isPrimary: false,
    });
  });

  test("in one org is nothing to another: the same ids are others there", async () => {
    const [one, two] = [await org(), await org()];
    await attach(one.orgId, "w", of(session("s", { saysPrimary: true })));
    const { attached } = await attach(two.orgId, "w", of(session("s", { saysPrimary: true })));
    expect(attached.publication.conflicts).toEqual([]);
    await expect(getSession(c, (await org()).caller, "s")).rejects.toMatchObject({
      reason: "SESSION_NOT_FOUND",
    });
  });
});

describe("the primary session", () => {
  test("is moved by an operator, with an audit row, and stays there whatever its worker repeats", async () => {
    const { orgId, caller } = await org();
    const said = of(session("one", { saysPrimary: true }), session("two"));
    const worker = await attach(orgId, "w", said);
    const before = c.woken.length;
    expect(await setPrimarySession(c, caller, { sessionId: "two", reason: "faster" })).toMatchObject({
      sessionId: "two",
      isPrimary: true,
    });
    expect(c.woken.slice(before)).toEqual([["routes", orgId]]);
    const again = await attach(orgId, "w", said, worker.caller);
    expect(again.attached.publication.conflicts).toMatchObject([{ sessionId: "one" }]);
    expect(await primaryOf(caller)).toEqual(["two"]);
    const audit = await db.admin`select action, target, reason, details from muster.audit_log
      where org_id = ${orgId}`;
    expect(audit).toEqual([
      {
        action: "session.set-primary",
        target: "two",
        reason: "faster",
        details: { project: "acme/web", before: "one" },
      },
    ]);
  });

  test("is one, when all are made it at once", async () => {
    const { orgId, caller } = await org();
    const ids = Array.from({ length: 8 }, (_, n) => `s${n}`);
    await attach(orgId, "w", of(...ids.map((id) => session(id))));
    await Promise.all(ids.map((sessionId) => setPrimarySession(c, caller, { sessionId, reason })));
    expect(await primaryOf(caller)).toHaveLength(1);
  });

  test("needs a project", async () => {
    const { orgId, caller } = await org();
    await attach(orgId, "w", of(session("s", { project: null })));
    await expect(setPrimarySession(c, caller, { sessionId: "s", reason })).rejects.toMatchObject({
      reason: "SESSION_UNROUTABLE",
    });
  });
});

describe("an operator", () => {
  test("archives a session, which its worker cannot undo, and unarchives it", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", of(session("s")));
    await submitJob(c, caller, {
      job: jobRequest({ target: { type: "session", sessionId: "s" } }),
      idempotencyKey: null,
      parent: null,
    });
    expect(await archiveSession(c, caller, { sessionId: "s", reason })).toMatchObject({ waitingJobs: 1 });
    await changeLinks(c, orgId, worker.link, of(session("s", { label: "new" })));
    expect(await getSession(c, caller, "s")).toMatchObject({
      label: "new",
      unusableReason: "an operator archived it",
    });
    expect((await listSessions(c, caller, everything)).items).toEqual([]);
    expect((await listSessions(c, caller, { ...everything, isWithArchived: true })).items).toHaveLength(1);
    expect(await unarchiveSession(c, caller, { sessionId: "s", reason })).toMatchObject({
      unusableReason: null,
    });
    const actions = await db.admin`select action, details from muster.audit_log where org_id = ${orgId}
      and action like 'session.%' order by audit_id`;
    expect(actions).toEqual([
      { action: "session.archive", details: { wasArchived: false } },
      { action: "session.unarchive", details: { wasArchived: true } },
    ]);
  });

  test("removes a session that is not published, or whose worker is not there", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", of(session("here"), session("withdrawn")));
    const remove = (sessionId: string) => removeSession(c, caller, { sessionId, reason });
    await expect(remove("here")).rejects.toMatchObject({
      reason: "SESSION_PUBLISHED",
      details: { sessionId: "here", worker: "w" },
    });
    await changeLinks(c, orgId, worker.link, of(session("here")));
    await remove("withdrawn");
    await closeLink(c.db, orgId, worker.link);
    await remove("here");
    expect((await listSessions(c, caller, everything)).items).toEqual([]);
    await expect(remove("here")).rejects.toMatchObject({ reason: "SESSION_NOT_FOUND" });
    await expect(remove("a\0")).rejects.toMatchObject({ reason: "SESSION_NOT_FOUND" });
  });
});

describe("lists", () => {
  test("go by project and registration, page by page, filtered by project and worker", async () => {
    const { orgId, caller } = await org();
    const projects = [null, "b", "a"];
    const sessions = projects.flatMap((project) => [1, 2].map((n) => session(`${project}${n}`, { project })));
    const linked = ["b", "a"].map((project) => ({
      project,
      root: "/",
      remoteUrl: "",
      linkedAt: null,
      linkedBy: "",
    }));
    await attach(orgId, "w", { projects: linked, sessions, refused: [] });
    await attach(orgId, "v", { projects: linked, sessions: [session("a0", { project: "a" })], refused: [] });
    const seen: string[] = [];
    for (let pageToken: string | null = ""; pageToken !== null; ) {
      const next = await listSessions(c, caller, { ...everything, pageSize: 2, pageToken });
      seen.push(...next.items.map((one) => one.sessionId));
      pageToken = next.nextPageToken === "" ? null : next.nextPageToken;
    }
    expect(seen).toEqual(["null1", "null2", "a1", "a2", "a0", "b1", "b2"]);
    const ofWorker = await listSessions(c, caller, { ...everything, worker: { workerId: null, name: "v" } });
    expect(ofWorker.items.map((one) => one.sessionId)).toEqual(["a0"]);
    const ofProject = await listSessions(c, caller, { ...everything, project: "b" });
    expect(ofProject.items.map((one) => one.sessionId)).toEqual(["b1", "b2"]);
    const links: string[] = [];
    for (let pageToken: string | null = ""; pageToken !== null; ) {
      const next = await listLinkedProjects(c, caller, {
        project: null,
        worker: null,
        pageSize: 3,
        pageToken,
      });
      links.push(...next.items.map((one) => `${one.project} ${one.workerName}`));
      pageToken = next.nextPageToken === "" ? null : next.nextPageToken;
    }
    expect(links).toEqual(["a v", "a w", "b v", "b w"]);
    const nobody = { ...everything, worker: { workerId: null, name: "nobody" } };
    await expect(listSessions(c, caller, nobody)).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
  });
});

describe("the target of a job", () => {
  const submit = (caller: Caller, job: Parameters<typeof jobRequest>[0]) =>
    submitJob(c, caller, { job: jobRequest(job), idempotencyKey: null, parent: null });

  test("is kept as it was asked for, and decides its shape", async () => {
    const { orgId, caller } = await org();
    const worker = await attach(orgId, "w", of(session("s")));
    const { workerId } = worker.attached;
    await submit(caller, { target: { type: "worker", workerId, name: encodeId("worker", workerId) } });
    await submit(caller, { target: { type: "worker", workerId: null, name: "w" } });
    await submit(caller, { target: { type: "session", sessionId: "s" } });
    await putProject(c, caller, { name: "acme/web", maxOpenPrs: null, repository: null });
    await submit(caller, { project: "acme/web", target: { type: "project" } });
    const rows = await db.admin`select j.target as asked, s.target as shape from muster.jobs j
      join muster.job_queue q using (org_id, job_id) join muster.shapes s using (org_id, shape_id)
      where org_id = ${orgId} order by job_id`;
    const targets = [`worker:${workerId}`, `worker:${workerId}`, "session:s", "project:acme/web"];
    expect(rows).toEqual(targets.map((target) => ({ asked: target, shape: target })));
  });

  test("may be gone when a submit is repeated: the job is the same", async () => {
    const { orgId, caller } = await org();
    const { link } = await attach(orgId, "w", of(session("s")));
    const job = jobRequest({ target: { type: "session", sessionId: "s" } });
    const request = { job, idempotencyKey: "once", parent: null };
    const first = await submitJob(c, caller, request);
    await changeLinks(c, orgId, link, of());
    await removeSession(c, caller, { sessionId: "s", reason });
    expect(await submitJob(c, caller, request)).toEqual({ ...first, isReplayed: true });
    await expect(submitJob(c, caller, { ...request, idempotencyKey: "other" })).rejects.toMatchObject({
      reason: "SESSION_NOT_FOUND",
    });
  });

  test("must be of the org: all that is not is named at once, and nothing is submitted", async () => {
    const { orgId, caller } = await org();
    const foreign = await org();
    const { attached } = await attach(foreign.orgId, "theirs", of(session("theirs")));
    const { workerId } = attached;
    const jobs = [
      jobRequest(),
      jobRequest({ target: { type: "worker", workerId, name: encodeId("worker", workerId) } }),
      jobRequest({ target: { type: "session", sessionId: "theirs" } }),
      jobRequest({ target: { type: "worker", workerId: null, name: "theirs" } }),
    ];
    const error = await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null }).catch(
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({
      code: "not_found",
      reason: "WORKER_NOT_FOUND",
      message: expect.stringContaining("jobs[1].target.worker"),
      violations: [
        { field: "jobs[1].target.worker" },
        { field: "jobs[2].target.sessionId" },
        { field: "jobs[3].target.worker" },
      ],
    });
    expect(await db.admin`select from muster.jobs where org_id = ${orgId}`).toHaveLength(0);
  });
});
