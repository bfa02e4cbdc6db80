import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService, PullRequestState } from "@muster/client/v1/project_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RunningServer } from "../../server/server.ts";
import { type OwnWorker, startOwnWorker } from "../../tui/commands/own-worker.ts";
import { testCert, testKey } from "../rpc/tls-fixture.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { type GithubPeer, startGithubPeer } from "../support/github.ts";

let github: GithubPeer;
let muster: TestServer;
const ends: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  github = await startGithubPeer();
  ends.push(() => github.close());
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(settings: Parameters<typeof startTestServer>[0] = {}): Promise<void> {
  muster = await startTestServer(settings);
  ends.push(() => muster.close());
}

function ownWorker(server: RunningServer = muster.server): OwnWorker {
  const own = startOwnWorker(
    server,
    {
      kinds: true,
      githubApiUrl: github.apiUrl,
      githubToken: undefined,
      githubTokenOrgs: [],
      outboundAllow: [],
    },
    { now: Date.now, stderr: new PassThrough() },
  );
  ends.push(() => own.stop());
  return own;
}

/** A project of the cap 1 with an open pull request that a worker's job opened, and one more job that waits. */
async function oneWaiting() {
  const projects = muster.client(ProjectService);
  const jobs = muster.client(JobService);
  await projects.putProject({ project: { name: "acme/web", maxOpenPrs: 1 } });
  let number = 6;
  const opened: string[] = [];
  await muster.startWorker({
    handlers: {
      "agent.prompt": (ctx) => {
        const url = github.open("acme/web", ++number);
        opened.push(url);
        ctx.pullRequest(url);
        return null;
      },
    },
  });
  const job = { kind: "agent.prompt", project: "acme/web" };
  const { jobId: first } = await jobs.submitJob({ job });
  await muster.reach(first, JobState.SUCCEEDED);
  const { jobId: second } = await jobs.submitJob({ job });
  expect((await projects.getProject({ name: "acme/web" })).project).toMatchObject({ openPrs: 1, leased: 0 });
  return { projects, jobs, second, opened };
}

describe("github.sync", () => {
  test("runs in the coordinator's own worker, and what it frees starts the job that waits", async () => {
    await start();
    ownWorker();
    const { projects, jobs, second, opened } = await oneWaiting();
    expect((await jobs.getJob({ jobId: second })).job?.state).toBe(JobState.READY);
    github.repositories.get("acme/web")?.set(7, { state: "closed", isMerged: true });
    const { jobId } = await jobs.submitJob({ job: { kind: "github.sync" } });
    const done = await muster.reach(jobId, JobState.SUCCEEDED);
    const { content } = done.result ?? {};
    expect(JSON.parse(Buffer.from(content?.case === "data" ? content.value : []).toString())).toEqual({
      repositories: 1,
      pullRequests: 1,
      closed: 0,
      merged: 1,
      reopened: 0,
      unreadable: [],
    });
    await muster.reach(second, JobState.SUCCEEDED);
    const { pullRequests } = await projects.listPullRequests({});
    expect(pullRequests.map(({ url, state }) => [url, state])).toEqual([
      [opened[1], PullRequestState.OPEN],
      [opened[0], PullRequestState.MERGED],
    ]);
    const audit = await muster.database.admin`
      select actor, reason from muster.audit_log where action = 'pull_request.set_state'`;
    expect(audit).toEqual([{ actor: "worker:coordinator", reason: "as GitHub says" }]);
  });

  test("parks its job until GitHub takes calls again", async () => {
    await start();
    ownWorker();
    const { jobs } = await oneWaiting();
    const headers = {
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": String(Math.floor(Date.now() / 1_000) + 600),
    };
    github.failures.push({ status: 403, headers, message: "API rate limit exceeded for 127.0.0.1." });
    const { jobId } = await jobs.submitJob({ job: { kind: "github.sync" } });
    const parked = await muster.reach(jobId, JobState.PARKED);
    expect(parked.reason).toContain("the rate of GitHub is spent");
    expect(parked.failures).toBe(0);
    const wakesInS = Number(parked.wakeTime?.seconds ?? 0n) - Date.now() / 1_000;
    expect(wakesInS).toBeGreaterThan(500);
    expect(wakesInS).toBeLessThan(700);
  });
});

describe("the coordinator's own worker", () => {
  test("takes nothing but the built-in kinds, and goes with its key at a stop", async () => {
    await start();
    const own = ownWorker();
    const admin = muster.client(WorkerAdminService);
    const worker = async () => (await admin.listWorkers({})).workers[0];
    await expect.poll(async () => (await worker())?.state, { timeout: 10_000 }).toBe(WorkerState.IDLE);
    const { name, kinds } = (await worker()) ?? {};
    expect([name, kinds?.toSorted()]).toEqual([
      "coordinator",
      [
        "github.issues",
        "github.sync",
        "http.request",
        "maintenance.backup",
        "maintenance.retention",
        "maintenance.retry-dead",
        "report.digest",
      ],
    ]);
    await own.stop();
    // The coordinator learns of the end of a link when it has closed.
    await expect.poll(async () => (await worker())?.state, { timeout: 10_000 }).toBe(WorkerState.OFFLINE);
    const keys = await muster.database.admin`
      select revoked_at is null as is_good from muster.api_keys where type = 'worker'`;
    expect(keys).toEqual([{ is_good: false }]);
  });

  test("has a name of its own at each coordinator of the database", async () => {
    await start();
    const peer = await muster.startPeer();
    ownWorker();
    ownWorker(peer);
    const admin = muster.client(WorkerAdminService);
    const names = async () => (await admin.listWorkers({ online: true })).workers.map((one) => one.name);
    await expect.poll(names, { timeout: 10_000 }).toEqual(["coordinator", "coordinator-2"]);
  });

  test("attaches where listeners have TLS that is for other names", async () => {
    const folder = await mkdtemp(join(tmpdir(), "muster-tls-"));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const [tlsCert, tlsKey] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    await writeFile(tlsCert, testCert);
    await writeFile(tlsKey, testKey);
    await start({ tlsCert, tlsKey, apiAddress: "https://muster.example:7070" });
    ownWorker();
    const online = async () => {
      const rows = await muster.database.admin`select is_attached from muster.links`;
      return rows.map((row) => row["is_attached"]);
    };
    await expect.poll(online, { timeout: 10_000 }).toEqual([true]);
  });

  test("is not started when nobody wants it", async () => {
    await start();
    const own = startOwnWorker(
      muster.server,
      {
        kinds: false,
        githubApiUrl: github.apiUrl,
        githubToken: undefined,
        githubTokenOrgs: [],
        outboundAllow: [],
      },
      { now: Date.now, stderr: new PassThrough() },
    );
    await own.stop();
    expect((await muster.client(WorkerAdminService).listWorkers({})).workers).toEqual([]);
  });
});

test("a webhook that GitHub sends starts the job that waits", async () => {
  await start();
  const { projects, second, opened } = await oneWaiting();
  const { path, secret } = await projects.getWebhook({});
  const body = JSON.stringify({ action: "closed", pull_request: { html_url: opened[0], merged: true } });
  const response = await fetch(`${muster.server.apiAddress}${path}`, {
    method: "POST",
    body,
    headers: {
      "content-type": "application/json",
      "x-github-event": "pull_request",
      "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
    },
  });
  expect([response.status, await response.json()]).toEqual([200, { status: "changed" }]);
  await muster.reach(second, JobState.SUCCEEDED);
});
