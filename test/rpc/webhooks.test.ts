import { createHmac } from "node:crypto";
import { connect } from "node:net";
import { create } from "@bufbuild/protobuf";
import {
  ListPullRequestsRequestSchema,
  ProjectService,
  PullRequestState,
} from "@muster/client/v1/project_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
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

const url = "https://github.com/acme/web/pull/7";

/** An org with a project of the cap 2, and an open pull request of it. */
async function oneOrg() {
  const client = await api.client();
  const projects = client.of(ProjectService);
  await projects.putProject({ project: { name: "acme/web", maxOpenPrs: 2 } });
  await db.admin`insert into muster.pull_requests (org_id, url, project, job_id)
    values (${client.orgId}, ${url}, 'acme/web', ${db.newId()})`;
  await db.admin`update muster.gates set used = used + 1 where org_id = ${client.orgId}`;
  const { path, secret } = await projects.getWebhook({});
  const states = async () => (await projects.listPullRequests({})).pullRequests.map((one) => one.state);
  const used = async () =>
    (await db.admin`select used from muster.gates where org_id = ${client.orgId}`)[0]?.["used"];
  return { ...client, projects, path, secret, states, used };
}

/** An event in the shape that GitHub sends, cut to what tells something. */
function pullRequestEvent(
  action: string,
  { merged = false, updatedAt = "2026-03-01T12:00:00Z", htmlUrl = url } = {},
) {
  return {
    action,
    number: 7,
    pull_request: {
      url: "https://api.github.com/repos/acme/web/pulls/7",
      id: 279147437,
      node_id: "MDExOlB1bGxSZXF1ZXN0Mjc5MTQ3NDM3",
      html_url: htmlUrl,
      number: 7,
      state: action === "closed" ? "closed" : "open",
      locked: false,
      title: "Update the README with new information.",
      user: { login: "octocat", id: 21031067, type: "User" },
      created_at: "2026-02-15T15:20:33Z",
      updated_at: updatedAt,
      closed_at: action === "closed" ? updatedAt : null,
      merged_at: merged ? updatedAt : null,
      merged,
      merged_by: merged ? { login: "octocat", id: 21031067 } : null,
    },
    repository: { id: 186853002, full_name: "acme/web", private: false },
    sender: { login: "octocat", id: 21031067, type: "User" },
  };
}

async function deliver(
  path: string,
  secret: string,
  event: string,
  payload: unknown,
  { isForm = false, headers = {} as Record<string, string> } = {},
) {
  const json = typeof payload === "string" ? payload : JSON.stringify(payload);
  const body = isForm ? new URLSearchParams({ payload: json }).toString() : json;
  const response = await fetch(`${api.address}${path}`, {
    method: "POST",
    body,
    headers: {
      "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json",
      "user-agent": "GitHub-Hookshot/044aadd",
      "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
      "x-github-event": event,
      "x-github-hook-id": "292430182",
      "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
      ...headers,
    },
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe("the webhook of an org", () => {
  test("has a path and a secret of its own, the same at every look", async () => {
    const one = await oneOrg();
    const other = await oneOrg();
    expect(one.path).toBe(`/webhooks/github/${encodeId("org", one.orgId)}`);
    expect(one.secret).toMatch(/^[0-9a-f]{64}$/);
    expect(other.secret).not.toBe(one.secret);
    expect(await one.projects.getWebhook({})).toMatchObject({ path: one.path, secret: one.secret });
  });

  test("closes, opens again and merges, with an audit row each", async () => {
    const { orgId, path, secret, states, used } = await oneOrg();
    const send = (...event: Parameters<typeof pullRequestEvent>) =>
      deliver(path, secret, "pull_request", pullRequestEvent(...event));
    expect(await send("closed")).toEqual({ status: 200, body: { status: "changed" } });
    expect([await states(), await used()]).toEqual([[PullRequestState.CLOSED], 0]);
    expect(await send("reopened", { updatedAt: "2026-03-01T12:00:01Z" })).toMatchObject({
      body: { status: "changed" },
    });
    expect([await states(), await used()]).toEqual([[PullRequestState.OPEN], 1]);
    await send("closed", { merged: true, updatedAt: "2026-03-01T12:00:02Z" });
    expect([await states(), await used()]).toEqual([[PullRequestState.MERGED], 0]);
    const audit = await db.admin`select actor, request_id from muster.audit_log
      where org_id = ${orgId} and action = 'pull_request.set_state'`;
    expect(audit).toHaveLength(3);
    expect(audit[0]).toEqual({ actor: "webhook:github", request_id: "72d3162e-cc78-11e3-81ab-4c9367dc0958" });
  });

  test("takes a delivery again, also long after, without a change", async () => {
    const { path, secret, states, used } = await oneOrg();
    const closed = pullRequestEvent("closed");
    await deliver(path, secret, "pull_request", closed);
    expect(await deliver(path, secret, "pull_request", closed)).toEqual({
      status: 200,
      body: { status: "unchanged" },
    });
    await deliver(
      path,
      secret,
      "pull_request",
      pullRequestEvent("reopened", { updatedAt: "2026-03-01T13:00:00Z" }),
    );
    expect(await deliver(path, secret, "pull_request", closed)).toMatchObject({
      body: { status: "unchanged" },
    });
    expect([await states(), await used()]).toEqual([[PullRequestState.OPEN], 1]);
  });

  test("takes the form that GitHub sends unless told otherwise", async () => {
    const { path, secret, states } = await oneOrg();
    const sent = await deliver(path, secret, "pull_request", pullRequestEvent("closed"), { isForm: true });
    expect(sent).toEqual({ status: 200, body: { status: "changed" } });
    expect(await states()).toEqual([PullRequestState.CLOSED]);
  });

  test("answers a ping, and takes without a change what does not matter here", async () => {
    const { path, secret, states } = await oneOrg();
    expect(await deliver(path, secret, "ping", { zen: "Design for failure.", hook_id: 1 })).toEqual({
      status: 200,
      body: { status: "pong" },
    });
    const ignored = { status: 202, body: { status: "ignored" } };
    expect(await deliver(path, secret, "push", { ref: "refs/heads/main" })).toEqual(ignored);
    expect(await deliver(path, secret, "pull_request", pullRequestEvent("labeled"))).toEqual(ignored);
    const foreign = pullRequestEvent("closed", { htmlUrl: "https://github.com/acme/web/pull/8" });
    expect(await deliver(path, secret, "pull_request", foreign)).toEqual(ignored);
    for (const odd of [
      null,
      1,
      [],
      {},
      { action: "closed" },
      { action: "closed", pull_request: { html_url: "x" } },
    ]) {
      expect(await deliver(path, secret, "pull_request", odd)).toEqual(ignored);
    }
    expect(await states()).toEqual([PullRequestState.OPEN]);
  });

  test("refuses a signature that is not right, and one for an org that does not exist, alike", async () => {
    const { path, secret, states } = await oneOrg();
    const event = pullRequestEvent("closed");
    const signed = (value: string) => ({ headers: { "x-hub-signature-256": value } });
    const right = createHmac("sha256", secret).update(JSON.stringify(event)).digest("hex");
    const answers = [
      await deliver(path, "another secret", "pull_request", event),
      await deliver(path, secret, "pull_request", event, signed("")),
      await deliver(path, secret, "pull_request", event, signed(`sha1=${right}`)),
      await deliver(path, secret, "pull_request", event, signed(`sha256=${"0".repeat(64)}`)),
      await deliver(`/webhooks/github/${encodeId("org", db.newId())}`, secret, "pull_request", event),
      await deliver("/webhooks/github/org_x", secret, "pull_request", event),
      await deliver("/webhooks/github/", secret, "pull_request", event),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(401);
      expect(body).toMatchObject({
        code: "unauthenticated",
        details: [{ debug: { reason: "WEBHOOK_SIGNATURE_INVALID" } }],
      });
    }
    expect(new Set(answers.map(({ body }) => body["message"])).size).toBe(1);
    expect(await states()).toEqual([PullRequestState.OPEN]);
  });

  test("refuses the signature of another org", async () => {
    const [one, other] = [await oneOrg(), await oneOrg()];
    const sent = await deliver(one.path, other.secret, "pull_request", pullRequestEvent("closed"));
    expect(sent.status).toBe(401);
  });

  test("refuses other methods, what is no JSON, and what is too large", async () => {
    const { path, secret } = await oneOrg();
    const got = await fetch(`${api.address}${path}`);
    expect([got.status, got.headers.get("allow")]).toEqual([405, "POST"]);
    const broken = await deliver(path, secret, "pull_request", "{");
    expect(broken).toMatchObject({ status: 400, body: { code: "invalid_argument" } });
    const large = await deliver(path, secret, "pull_request", `"${"x".repeat(1024 * 1024)}"`);
    expect(large).toMatchObject({ status: 413, body: { message: "A delivery has at most 1048576 bytes" } });
  });

  test("does not mind a sender that goes away half-way", async () => {
    const { path, secret } = await oneOrg();
    const { port } = new URL(api.address);
    const before = api.log.lines.length;
    const socket = connect(Number(port), "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    const head = [
      `POST ${path} HTTP/1.1`,
      "host: x",
      "content-length: 100",
      `x-hub-signature-256: sha256=${"0".repeat(64)}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n{`);
    socket.destroy();
    expect(await deliver(path, secret, "ping", {})).toMatchObject({ status: 200 });
    expect(api.log.lines.slice(before).filter((line) => line.level === "error")).toEqual([]);
  });
});

describe("pull requests", () => {
  test("are listed and said by the API", async () => {
    const { projects, used } = await oneOrg();
    const { pullRequests } = await projects.listPullRequests({
      project: "acme/web",
      state: PullRequestState.OPEN,
    });
    expect(pullRequests).toMatchObject([
      { url, project: "acme/web", state: PullRequestState.OPEN, counted: true },
    ]);
    const closed = await projects.setPullRequestState({
      url,
      state: PullRequestState.CLOSED,
      reason: "by hand",
    });
    expect(closed.pullRequest?.state).toBe(PullRequestState.CLOSED);
    expect(await used()).toBe(0);
    const { project } = await projects.getProject({ name: "acme/web" });
    expect(project).toMatchObject({
      name: "acme/web",
      maxOpenPrs: 2,
      openPrs: 0,
      leased: 0,
      repository: "acme/web",
    });
  });

  test("are refused with all that is wrong", async () => {
    const { projects } = await oneOrg();
    expect(violationsOf(await failure(projects.setPullRequestState({})))).toEqual([
      "url is required",
      "state must be OPEN, CLOSED or MERGED",
    ]);
    expect(violationsOf(await failure(projects.setPullRequestState({ url: "x", state: 1 })))).toEqual([
      "url must be the URL of a pull request",
    ]);
    const odd = create(ListPullRequestsRequestSchema, { project: "a b" });
    Reflect.set(odd, "state", 9);
    expect(violationsOf(await failure(projects.listPullRequests(odd)))[0]).toMatch(/^state/);
    const none = await failure(
      projects.setPullRequestState({ url: "https://github.com/a/b/pull/1", state: 2 }),
    );
    expect(none.detail?.reason).toBe("PULL_REQUEST_NOT_FOUND");
    expect((await failure(projects.deleteProject({ name: "nothing" }))).detail?.reason).toBe(
      "PROJECT_NOT_FOUND",
    );
  });
});
