import { randomUUID } from "node:crypto";
import { readError } from "@muster/client/errors";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { SessionService } from "@muster/client/v1/session_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JobContext } from "../../worker/context.ts";
import type { WorkerOptions } from "../../worker/options.ts";
import type { OwnSession, PublishConflict } from "../../worker/published.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;

beforeAll(async () => {
  muster = await startTestServer({
    heartbeatMs: 300,
    staleMs: 2_000,
    reclaimAfterMs: 3_000,
    backoffInitialMs: 50,
  });
});
afterAll(() => muster.close());

const sessions = () => muster.client(SessionService);
const jobs = () => muster.client(JobService);
const isUsable = async (sessionId: string) =>
  (await sessions().getSession({ sessionId })).session?.usable ?? false;
const stateOf = async (jobId: string) => (await jobs().getJob({ jobId })).job?.state;

/** An agent session that jobs can be routed to. */
const session = (id: string, more: Partial<OwnSession> = {}): OwnSession => ({
  id,
  agent: "codex",
  agentSessionId: `codex-${id}`,
  ...more,
});

/** Both ways in which a worker may be linked: what is published travels by each. */
describe.each([
  ["a stream", "stream", () => muster.server.workerAddress],
  ["polling", "poll", () => muster.server.apiAddress],
] as const)("sessions over %s", (_name, transport, address) => {
  const kind = `agent.${transport}`;
  const project = async () => {
    const name = `acme/${randomUUID().slice(0, 8)}`;
    await muster.client(ProjectService).putProject({ project: { name } });
    return name;
  };
  const start = (name: string, run: (ctx: JobContext) => unknown, options: Partial<WorkerOptions> = {}) =>
    muster
      .workerKey(`${name}-${randomUUID().slice(0, 8)}`)
      .then((key) =>
        muster.startWorker({ key, transport, address: address(), handlers: { [kind]: run }, ...options }),
      );
  const submit = async (target: object, more: object = {}) =>
    (await jobs().submitJob({ job: { kind, ...more, target: { target } } as never })).jobId;

  test("a job that names a session waits for it, and starts by itself when it appears", async () => {
    const id = `s-${randomUUID()}`;
    const name = await project();
    const seen: unknown[] = [];
    const worker = await start("late", (ctx) => {
      seen.push([ctx.session?.sessionId, ctx.session?.agentSessionId, ctx.session?.workerName, ctx.project]);
    });
    await using other = await start("other", () => {
      throw new Error("the job of another's session");
    });
    expect(other.attachment?.transport).toBe(transport);
    // Known, and not usable yet: its agent has not started.
    worker.publish({ linkedProjects: [], sessions: [{ id, project: name }] });
    await expect.poll(() => isKnown(id), { timeout: 5_000 }).toBe(true);
    const jobId = await submit({ case: "sessionId", value: id }, { project: name });
    expect(await stateOf(jobId)).toBe(JobState.READY);
    const { session: waiting, waitingJobs } = await sessions().getSession({ sessionId: id });
    expect(waitingJobs).toBe(1);
    expect(waiting?.unusableReason).toBe("its agent has not named its session yet");
    worker.publish({
      linkedProjects: [{ project: name, root: "/src/web", remoteUrl: "git@example.com:acme/web" }],
      sessions: [session(id, { project: name })],
    });
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job.sessionId).toBe(id);
    expect(seen).toEqual([
      [
        id,
        `codex-${id}`,
        worker.attachment?.workerName,
        { name, root: "/src/web", remoteUrl: "git@example.com:acme/web" },
      ],
    ]);
    const { attempts } = await jobs().listAttempts({ jobId });
    expect(attempts.map((one) => one.sessionId)).toEqual([id]);
    await worker.stop({ graceMs: 0 });
  });

  test("the jobs of a project go to its primary session, and to the first usable one when that has gone", async () => {
    const name = await project();
    const [one, two, three] = ["one", "two", "three"].map((id) => `${id}-${randomUUID()}`);
    const ran: (string | undefined)[] = [];
    const note = (ctx: JobContext) => void ran.push(ctx.session?.sessionId);
    const first = await start("first", note, { sessions: [session(one ?? "", { project: name })] });
    const second = await start("second", note, {
      sessions: [
        session(two ?? "", { project: name, primary: true }),
        session(three ?? "", { project: name }),
      ],
    });
    const run = async () =>
      muster.reach(
        await submit({ case: "projectSession", value: true }, { project: name }),
        JobState.SUCCEEDED,
      );
    await run();
    await second.stop({ graceMs: 0 });
    await run();
    await sessions().setPrimarySession({ sessionId: one ?? "", reason: "the other one is away" });
    await first.stop({ graceMs: 0 });
    const waiting = await submit({ case: "projectSession", value: true }, { project: name });
    await expect.poll(() => isUsable(one ?? ""), { timeout: 5_000 }).toBe(false);
    expect(await stateOf(waiting)).toBe(JobState.READY);
    await using _third = await start("third", note, { sessions: [session(`x-${name}`, { project: name })] });
    await muster.reach(waiting, JobState.SUCCEEDED);
    expect(ran).toEqual([two, one, `x-${name}`]);
  });

  test("a session that two workers publish stays the first one's, and the second is told whose it is", async () => {
    const id = `shared-${randomUUID()}`;
    const conflicts: PublishConflict[] = [];
    const onConflict = (conflict: PublishConflict) => conflicts.push(conflict);
    const ran: (string | undefined)[] = [];
    await using first = await start("owner", (ctx) => void ran.push(ctx.session?.workerName), {
      sessions: [session(id)],
    });
    const owner = { workerId: first.attachment?.workerId, workerName: first.attachment?.workerName };
    await using second = await start("thief", (ctx) => void ran.push(ctx.session?.workerName), {
      sessions: [session(id)],
      onConflict,
    });
    expect(conflicts).toMatchObject([{ sessionId: id, ...owner, detail: expect.stringContaining("first") }]);
    // Again over the link that stands: with the answer to the change.
    second.publish({ linkedProjects: [], sessions: [session(id)] });
    await expect.poll(() => conflicts.length, { timeout: 5_000 }).toBe(2);
    expect(conflicts[1]).toEqual(conflicts[0]);
    await muster.reach(await submit({ case: "sessionId", value: id }), JobState.SUCCEEDED);
    expect(ran).toEqual([owner.workerName]);
  });

  test("jobs of an archived session wait until it is unarchived; one that is published cannot be removed", async () => {
    const id = `archived-${randomUUID()}`;
    const worker = await start("archivist", () => null, { sessions: [session(id)] });
    await sessions().archiveSession({ sessionId: id, reason: "no longer" });
    const jobId = await submit({ case: "sessionId", value: id });
    // What may run elsewhere is not held up by it.
    await muster.reach((await jobs().submitJob({ job: { kind } })).jobId, JobState.SUCCEEDED);
    expect(await stateOf(jobId)).toBe(JobState.READY);
    await sessions().unarchiveSession({ sessionId: id });
    await muster.reach(jobId, JobState.SUCCEEDED);
    const refused = await sessions()
      .removeSession({ sessionId: id })
      .catch((error: unknown) => readError(error));
    expect(refused).toMatchObject({ detail: { reason: "SESSION_PUBLISHED" } });
    worker.publish({ linkedProjects: [], sessions: [] });
    await expect.poll(() => isUsable(id), { timeout: 5_000 }).toBe(false);
    await sessions().removeSession({ sessionId: id });
    expect(await isKnown(id)).toBe(false);
    const gone = await submit({ case: "sessionId", value: id }).catch((error: unknown) => readError(error));
    expect(gone).toMatchObject({
      detail: { reason: "SESSION_NOT_FOUND", violations: [{ field: "job.target.sessionId" }] },
    });
    await worker.stop({ graceMs: 0 });
  });

  test("a parked job comes back to its session, though another one is the primary by then", async () => {
    const name = await project();
    const [one, two] = [`a-${randomUUID()}`, `b-${randomUUID()}`];
    const ran: string[] = [];
    const run = (ctx: JobContext) => {
      ran.push(`${ctx.job.attempt} ${ctx.session?.sessionId}`);
      if (ctx.job.attempt === 1) ctx.park({ reason: "a question" });
      if (ctx.job.attempt === 2) throw new Error("no luck");
      return null;
    };
    await using _first = await start("asker", run, { sessions: [session(one, { project: name })] });
    const jobId = await submit({ case: "projectSession", value: true }, { project: name });
    expect((await muster.reach(jobId, JobState.PARKED)).sessionId).toBe(one);
    await using _second = await start("newer", run, {
      sessions: [session(two, { project: name, primary: true })],
    });
    await jobs().unparkJob({ jobId });
    // The failure starts it anew, where it was submitted for.
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(ran).toEqual([`1 ${one}`, `2 ${one}`, `3 ${two}`]);
    expect(job).toMatchObject({ failures: 1, sessionId: two });
  });

  test("a handler may park for another session of its own, and for nobody else's", async () => {
    const [one, two, foreign] = ["one", "two", "foreign"].map((id) => `${id}-${randomUUID()}`);
    const ran: (string | undefined)[] = [];
    await using _other = await start("foreigner", () => null, { sessions: [session(foreign ?? "")] });
    await using _own = await start(
      "chooser",
      (ctx) => {
        ran.push(ctx.session?.sessionId);
        if (ctx.job.attempt === 1) ctx.park({ reason: "there", wakeAfterMs: 10, session: foreign ?? "" });
        if (ctx.job.attempt === 2) ctx.park({ reason: "here", wakeAfterMs: 10, session: two ?? "" });
        return null;
      },
      { sessions: [session(one ?? ""), session(two ?? "")] },
    );
    await muster.reach(await submit({ case: "sessionId", value: one ?? "" }), JobState.SUCCEEDED);
    expect(ran).toEqual([one, one, two]);
    const metrics = await (await fetch(`${muster.server.apiAddress}/metrics`)).text();
    expect(metrics).toContain('muster_refused_frames_total{frame="result",reason="foreign-session"}');
  });

  test("a job that names a worker runs there alone, and waits while it is away", async () => {
    const ran: string[] = [];
    const name = `chosen-${randomUUID().slice(0, 8)}`;
    const key = await muster.workerKey(name);
    await using _other = await start("free", () => void ran.push("other"));
    const jobId = await submit({ case: "worker", value: name });
    expect((await jobs().getJob({ jobId })).job?.spec?.target?.target.case).toBe("worker");
    await muster.reach((await jobs().submitJob({ job: { kind } })).jobId, JobState.SUCCEEDED);
    expect(await stateOf(jobId)).toBe(JobState.READY);
    await using _chosen = await muster.startWorker({
      key,
      transport,
      address: address(),
      handlers: { [kind]: () => void ran.push("chosen") },
    });
    await muster.reach(jobId, JobState.SUCCEEDED);
    expect(ran).toEqual(["other", "chosen"]);
  });
});

test("a session whose worker is linked to another coordinator is found from there, and from here", async () => {
  const peer = await muster.startPeer();
  const id = `far-${randomUUID()}`;
  const ran: string[] = [];
  const kind = "agent.far";
  const job = { kind, target: { target: { case: "sessionId" as const, value: id } } };
  await using _near = await muster.startWorker({ handlers: { [kind]: () => void ran.push("near") } });
  await using far = await muster.startWorker({
    address: peer.workerAddress,
    handlers: { [kind]: () => void ran.push("far") },
  });
  far.publish({ linkedProjects: [], sessions: [session(id, { agentSessionId: "" })] });
  await expect.poll(() => isKnown(id), { timeout: 5_000 }).toBe(true);
  const { jobId } = await jobs().submitJob({ job });
  far.publish({ linkedProjects: [], sessions: [session(id)] });
  await muster.reach(jobId, JobState.SUCCEEDED);
  expect(ran).toEqual(["far"]);
});

async function isKnown(sessionId: string): Promise<boolean> {
  try {
    await sessions().getSession({ sessionId });
    return true;
  } catch {
    return false;
  }
}
