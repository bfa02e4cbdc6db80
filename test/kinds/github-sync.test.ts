import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  ListPullRequestsResponseSchema,
  type PullRequest,
  PullRequestSchema,
  PullRequestState,
  SetPullRequestStateResponseSchema,
} from "@muster/client/v1/project_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { KindContext } from "../../server/kinds/context.ts";
import { createGithub } from "../../server/kinds/github.ts";
import { githubSync, type SyncParts } from "../../server/kinds/github-sync.ts";
import { type GithubPeer, startGithubPeer } from "../support/github.ts";

let peer: GithubPeer;
beforeEach(async () => {
  peer = await startGithubPeer();
});
afterEach(() => peer.close());

/** Thrown where the worker's own `park` would throw. */
class Parked extends Error {
  readonly wakeAfterMs: number | undefined;
  constructor(reason: string, wakeAfterMs: number | undefined) {
    super(reason);
    this.wakeAfterMs = wakeAfterMs;
  }
}

/** The pull requests that are known here, and a handler over them. */
function known(states: Record<string, PullRequestState>, token?: string, author = "octocat") {
  const pulls = new Map<string, PullRequest>();
  for (const [url, state] of Object.entries(states)) {
    pulls.set(url, create(PullRequestSchema, { url, project: "acme/web", state, counted: true, author }));
  }
  const said: string[] = [];
  const pauses: number[] = [];
  const projects: SyncParts["projects"] = {
    async listPullRequests({ project = "", state, pageSize = 0, pageToken = "" }) {
      const rows = [...pulls.values()].filter(
        (one) => one.state === state && (project === "" || one.project === project),
      );
      const from = Number(pageToken || 0);
      const to = from + Math.min(pageSize, 2);
      return create(ListPullRequestsResponseSchema, {
        pullRequests: rows.slice(from, to),
        nextPageToken: to < rows.length ? String(to) : "",
      });
    },
    async setPullRequestState({ url = "", state = 0, author: opener = "" }) {
      const pull = pulls.get(url);
      if (pull === undefined) throw new ConnectError("none", Code.NotFound);
      pull.state = state;
      pull.author ||= opener;
      said.push(`${url.replace(/.*\/(?=[^/]+\/pull)/, "")} ${PullRequestState[state]}`);
      return create(SetPullRequestStateResponseSchema, { pullRequest: pull });
    },
  };
  const { apiUrl } = peer;
  const github = createGithub(
    { apiUrl, token },
    { pause: async (ms) => void pauses.push(ms), nowMs: () => clock.nowMs },
  );
  const clock = { nowMs: Date.now() };
  const handler = githubSync({
    github,
    apiUrl,
    projects,
    failure: (message, code) => Object.assign(new Error(message), { code }),
  });
  const warned: string[] = [];
  const run = (payload: unknown = {}, signal = new AbortController().signal) => {
    const ctx: KindContext = {
      idempotencyKey: "job_1",
      submit: () => Promise.reject(new Error("a sync submits nothing")),
      payload,
      signal,
      log: (_, text) => void warned.push(text),
      progress: () => {},
      park: ({ reason, wakeAfterMs }) => {
        throw new Parked(reason, wakeAfterMs);
      },
    };
    return handler(ctx);
  };
  return { pulls, said, pauses, warned, run, clock };
}

const { OPEN, CLOSED, MERGED } = PullRequestState;
const failed = (call: Promise<unknown>) =>
  call.then(
    () => null,
    (error: unknown) => error,
  );

describe("github.sync", () => {
  test("says who opened a pull request of which nobody knew, once", async () => {
    const urls = [1, 2].map((number) => peer.open("acme/web", number));
    const [one = "", two = ""] = urls;
    const { run, said, pulls } = known({ [one]: OPEN, [two]: OPEN }, undefined, "");
    peer.repositories.get("acme/web")?.set(2, { state: "closed", isMerged: true });
    expect(await run()).toMatchObject({ merged: 1, reopened: 0 });
    expect(said).toEqual(["web/pull/1 OPEN", "web/pull/2 MERGED"]);
    expect([...pulls.values()].map(({ author }) => author)).toEqual(["octocat", "octocat"]);
    await run();
    expect(said.length).toBe(2);
  });

  test("says what was closed, merged and opened again, and leaves the rest alone", async () => {
    const urls = [1, 2, 3, 4].map((number) => peer.open("acme/web", number));
    const [one = "", two = "", three = "", four = ""] = urls;
    const { run, said } = known({ [one]: OPEN, [two]: OPEN, [three]: OPEN, [four]: CLOSED });
    peer.repositories.get("acme/web")?.set(1, { state: "closed", isMerged: false });
    peer.repositories.get("acme/web")?.set(2, { state: "closed", isMerged: true });
    expect(await run()).toEqual({
      repositories: 1,
      pullRequests: 4,
      closed: 1,
      merged: 1,
      reopened: 1,
      unreadable: [],
    });
    expect(said).toEqual(["web/pull/1 CLOSED", "web/pull/2 MERGED", "web/pull/4 OPEN"]);
    expect(peer.calls.map((call) => call.path)).toEqual([
      expect.stringMatching(/^\/repos\/acme\/web\/pulls\?state=open&.*per_page=100&page=1$/),
      "/repos/acme/web/pulls/1",
      "/repos/acme/web/pulls/2",
    ]);
  });

  test("asks once a repository, by page, and again only for what changed", async () => {
    peer.pageSize = 2;
    const states: Record<string, PullRequestState> = {};
    for (const number of [1, 2, 3, 4, 5]) states[peer.open("acme/web", number)] = OPEN;
    states[peer.open("acme/docs", 1)] = OPEN;
    const { run, said } = known(states);
    expect(await run()).toMatchObject({ repositories: 2, pullRequests: 6, closed: 0 });
    expect(peer.calls.map((call) => call.status)).toEqual([200, 200, 200, 200]);
    peer.calls.length = 0;
    await run();
    expect(peer.calls.map((call) => call.status)).toEqual([304, 304, 304, 304]);
    peer.calls.length = 0;
    peer.repositories.get("acme/web")?.set(5, { state: "closed", isMerged: true });
    await run();
    expect(peer.calls.map((call) => call.status)).toEqual([304, 200, 200, 304]);
    expect(said).toEqual(["web/pull/5 MERGED"]);
  });

  test("of one project asks for that one alone, and of other hosts for none", async () => {
    const url = peer.open("acme/web", 1);
    const { run, pulls } = known({ [url]: OPEN, "https://github.com/acme/else/pull/1": OPEN });
    pulls.set(
      "x",
      create(PullRequestSchema, {
        url: peer.open("acme/docs", 1),
        project: "docs",
        state: OPEN,
        counted: true,
      }),
    );
    expect(await run({ project: "acme/web" })).toMatchObject({ repositories: 1, pullRequests: 1 });
    expect(peer.calls).toHaveLength(1);
  });

  test("sends its token, and ends for good when GitHub does not know it", async () => {
    peer.token = "ghp_right";
    const url = peer.open("acme/web", 1);
    await known({ [url]: OPEN }, "ghp_right").run();
    expect(peer.calls[0]?.status).toBe(200);
    const error = await failed(known({ [url]: OPEN }, "ghp_wrong").run());
    expect(error).toMatchObject({ code: "GITHUB_TOKEN_INVALID" });
    expect(String(error)).not.toContain("ghp_");
  });

  test("tries again what GitHub fails to answer, and in the end lets the job be tried again", async () => {
    const url = peer.open("acme/web", 1);
    const bad = { status: 502, message: "Server Error" };
    const { run, pauses } = known({ [url]: OPEN });
    peer.failures.push({ status: 500, message: "Server Error" }, bad);
    expect(await run()).toMatchObject({ pullRequests: 1 });
    expect(pauses).toEqual([500, 1_000]);
    peer.failures.push(bad, bad, bad, bad);
    expect(String(await failed(run()))).toMatch(/GitHub answers 502/);
    expect(peer.failures).toEqual([]);
  });

  test("parks until the reset when the rate is spent, and keeps what it has said", async () => {
    const [one, two] = [peer.open("acme/a", 1), peer.open("acme/b", 1)];
    const { run, said, clock } = known({ [one]: OPEN, [two]: OPEN });
    peer.repositories.get("acme/a")?.set(1, { state: "closed", isMerged: true });
    const sent = new Date("2026-03-01T12:00:00Z");
    const spent = {
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": String(sent.getTime() / 1_000 + 900),
      date: sent.toUTCString(),
    };
    await run();
    expect(said).toEqual(["a/pull/1 MERGED"]);
    peer.failures.push({ status: 403, headers: spent, message: "API rate limit exceeded for user ID 1." });
    const parked = await failed(run());
    expect(parked).toBeInstanceOf(Parked);
    expect(parked).toMatchObject({
      wakeAfterMs: 901_000,
      message: expect.stringContaining("rate of GitHub is spent"),
    });
    // No call is made until then.
    peer.calls.length = 0;
    clock.nowMs += 900_000;
    expect(await failed(run())).toMatchObject({ wakeAfterMs: 1_000 });
    expect(peer.calls).toEqual([]);
    clock.nowMs += 1_001;
    expect(await run()).toMatchObject({ repositories: 1 });
  });

  test.each([
    [{ status: 429, headers: { "retry-after": "30" }, message: "slow down" }, 30_000],
    [{ status: 403, message: "You have exceeded a secondary rate limit." }, 60_000],
    [{ status: 429, message: "Too Many Requests" }, 60_000],
  ])("parks for %j", async (failure, wakeAfterMs) => {
    const { run } = known({ [peer.open("acme/web", 1)]: OPEN });
    peer.failures.push(failure);
    expect(await failed(run())).toMatchObject({ wakeAfterMs });
  });

  test("says which repositories GitHub does not show, changes nothing of them, and goes on", async () => {
    const url = peer.open("acme/web", 1);
    const gone = url.replace("/web/", "/gone/");
    const { run, pulls, warned } = known({ [gone]: OPEN, [url]: OPEN });
    peer.repositories.get("acme/web")?.set(1, { state: "closed", isMerged: false });
    expect(await run()).toMatchObject({ repositories: 2, closed: 1, unreadable: ["acme/gone"] });
    expect(pulls.get(gone)?.state).toBe(OPEN);
    expect(warned).toEqual([expect.stringContaining("does not show acme/gone")]);
  });

  test("does not mind a pull request that is gone here by now", async () => {
    const url = peer.open("acme/web", 1);
    const { run, pulls } = known({ [url]: OPEN });
    peer.repositories.get("acme/web")?.set(1, { state: "closed", isMerged: false });
    const list = run();
    pulls.clear();
    expect(await list).toMatchObject({ closed: 0 });
  });

  test("stops when it is told to", async () => {
    const { run } = known({ [peer.open("acme/web", 1)]: OPEN });
    const reason = new Error("stop");
    expect(await failed(run({}, AbortSignal.abort(reason)))).toBe(reason);
  });

  test.each([["x"], [[]], [{ projekt: "web" }], [{ project: 1 }]])(
    "refuses the payload %j",
    async (payload) => {
      expect(await failed(known({}).run(payload))).toMatchObject({ code: "PAYLOAD_INVALID" });
    },
  );

  test("without a payload looks at all projects", async () => {
    expect(await known({ [peer.open("acme/web", 1)]: MERGED }).run(null)).toMatchObject({ repositories: 0 });
  });
});
