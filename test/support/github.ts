import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A pull request at the peer. */
export interface PeerPull {
  state: "open" | "closed";
  isMerged: boolean;
}

/** An open issue at the peer. */
export interface PeerIssue {
  readonly number: number;
  readonly title: string;
  readonly body: string;
  readonly labels: readonly string[];
  readonly login: string;
  /** A pull request is in the list of issues, too. */
  readonly isPull?: boolean;
}

/** A call that came. */
export interface PeerCall {
  readonly path: string;
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
}

/** The REST API of GitHub over a state in memory, on a real listener, in the shapes of its documentation. */
export interface GithubPeer {
  /** Base of the API. */
  readonly apiUrl: string;
  readonly calls: PeerCall[];
  /** Repositories by `owner/name`, with their pull requests by number. */
  readonly repositories: Map<string, Map<number, PeerPull>>;
  /** Open issues by `owner/name`. */
  readonly issues: Map<string, readonly PeerIssue[]>;
  /** The token that is known; undefined: everybody reads. */
  token: string | undefined;
  /** The next calls are answered so instead, one each. */
  readonly failures: {
    readonly status: number;
    readonly headers?: Record<string, string>;
    readonly message: string;
  }[];
  /** Rows a page of a list, whatever is asked. */
  pageSize: number;
  /** Adds an open pull request; answers with the URL of its page. */
  open(repository: string, number: number): string;
  close(): Promise<void>;
}

/** Starts it on a free port. */
export async function startGithubPeer(): Promise<GithubPeer> {
  const server = createServer((request, response) => answer(peer, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const peer: GithubPeer = {
    apiUrl: `http://127.0.0.1:${port}`,
    calls: [],
    repositories: new Map(),
    issues: new Map(),
    token: undefined,
    failures: [],
    pageSize: 100,
    open(repository, number) {
      const pulls = peer.repositories.get(repository) ?? new Map<number, PeerPull>();
      peer.repositories.set(repository, pulls);
      pulls.set(number, { state: "open", isMerged: false });
      return pageUrl(peer, repository, number);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return peer;
}

// Pull requests have https pages wherever the API is.
function pageUrl({ apiUrl }: GithubPeer, repository: string, number: number): string {
  return `${apiUrl.replace("http:", "https:")}/${repository}/pull/${number}`;
}

function answer(peer: GithubPeer, request: IncomingMessage, response: ServerResponse): void {
  const path = request.url ?? "";
  const send = (status: number, body: unknown, headers: Record<string, string> = {}) => {
    peer.calls.push({ path, status, headers: request.headers });
    response.writeHead(status, {
      "content-type": "application/json; charset=utf-8",
      "x-ratelimit-limit": "5000",
      "x-ratelimit-remaining": "4999",
      "x-ratelimit-reset": String(Math.floor(Date.now() / 1_000) + 3_600),
      ...headers,
    });
    response.end(status === 304 ? undefined : JSON.stringify(body));
  };
  const failure = peer.failures.shift();
  if (failure !== undefined) {
    send(
      failure.status,
      { message: failure.message, documentation_url: "https://docs.github.com/rest" },
      failure.headers,
    );
    return;
  }
  if (peer.token !== undefined && request.headers.authorization !== `Bearer ${peer.token}`) {
    send(401, {
      message: "Bad credentials",
      documentation_url: "https://docs.github.com/rest",
      status: "401",
    });
    return;
  }
  const url = new URL(path, peer.apiUrl);
  const [, listed = ""] = /^\/repos\/([^/]+\/[^/]+)\/issues$/.exec(url.pathname) ?? [];
  const issues = peer.issues.get(listed);
  if (issues !== undefined) {
    listIssues(peer, listed, issues, url, send);
    return;
  }
  const [, name = "", number] = /^\/repos\/([^/]+\/[^/]+)\/pulls(?:\/(\d+))?$/.exec(url.pathname) ?? [];
  const pulls = peer.repositories.get(name);
  const found = number === undefined ? undefined : pulls?.get(Number(number));
  if (pulls === undefined || (number !== undefined && found === undefined)) {
    send(404, { message: "Not Found", documentation_url: "https://docs.github.com/rest", status: "404" });
  } else if (number !== undefined && found !== undefined) {
    send(200, pullJson(peer, name, Number(number), found));
  } else list(peer, name, pulls, url, request, send);
}

function listIssues(
  peer: GithubPeer,
  name: string,
  issues: readonly PeerIssue[],
  url: URL,
  send: (status: number, body: unknown, headers?: Record<string, string>) => void,
): void {
  const page = Number(url.searchParams.get("page") ?? 1);
  const asked = (url.searchParams.get("labels") ?? "").split(",").filter((label) => label !== "");
  const all = issues.filter(({ labels }) => asked.every((label) => labels.includes(label)));
  const rows = all.slice((page - 1) * peer.pageSize, page * peer.pageSize);
  const next = new URL(url);
  next.searchParams.set("page", String(page + 1));
  const isMore = all.length > page * peer.pageSize;
  send(
    200,
    rows.map((issue) => issueJson(name, issue)),
    isMore ? { link: `<${next.href}>; rel="next"` } : {},
  );
}

/** An issue as the API shows it, without what nobody here reads. */
function issueJson(name: string, { number, title, body, labels, login, isPull }: PeerIssue) {
  const page = `https://github.com/${name}/${isPull === true ? "pull" : "issues"}/${number}`;
  return {
    id: 1_000 + number,
    node_id: `I_${number}`,
    number,
    title,
    body,
    html_url: page,
    state: "open",
    locked: false,
    user: { login, id: 1, type: "User", site_admin: false },
    labels: labels.map((label, index) => ({ id: index, name: label, color: "ededed", default: false })),
    assignees: [],
    comments: 0,
    author_association: "NONE",
    ...(isPull === true ? { pull_request: { html_url: page } } : {}),
  };
}

function list(
  peer: GithubPeer,
  name: string,
  pulls: ReadonlyMap<number, PeerPull>,
  url: URL,
  request: IncomingMessage,
  send: (status: number, body: unknown, headers?: Record<string, string>) => void,
): void {
  const page = Number(url.searchParams.get("page") ?? 1);
  const state = url.searchParams.get("state") ?? "open";
  const all = [...pulls]
    .filter(([, pull]) => state === "all" || pull.state === state)
    .sort(([a], [b]) => a - b);
  const rows = all.slice((page - 1) * peer.pageSize, page * peer.pageSize);
  const body = rows.map(([number, pull]) => pullJson(peer, name, number, pull));
  const next = new URL(url);
  next.searchParams.set("page", String(page + 1));
  const isMore = all.length > page * peer.pageSize;
  const etag = `W/"${Buffer.from(JSON.stringify([rows.map(([number]) => number), isMore])).toString("base64url")}"`;
  if (request.headers["if-none-match"] === etag) send(304, null, { etag });
  else
    send(200, body, {
      etag,
      ...(isMore ? { link: `<${next.href}>; rel="next", <${url.href}>; rel="first"` } : {}),
    });
}

/** A pull request as the API shows it, without what nobody here reads. */
function pullJson(peer: GithubPeer, name: string, number: number, { state, isMerged }: PeerPull) {
  const [owner, repo] = name.split("/");
  return {
    url: `${peer.apiUrl}/repos/${name}/pulls/${number}`,
    id: number + 1_000_000,
    node_id: "MDExOlB1bGxSZXF1ZXN0MQ==",
    html_url: pageUrl(peer, name, number),
    number,
    state,
    locked: false,
    title: `Pull request ${number}`,
    user: { login: "octocat", id: 1, type: "User" },
    body: "Please pull these awesome changes in!",
    created_at: "2026-01-26T19:01:12Z",
    updated_at: "2026-01-26T19:01:12Z",
    closed_at: state === "closed" ? "2026-01-26T19:01:12Z" : null,
    merged_at: isMerged ? "2026-01-26T19:01:12Z" : null,
    merged: isMerged,
    draft: false,
    head: { label: `${owner}:topic`, ref: "topic", sha: "6dcb09b5b57875f334f61aebed695e2e4193db5e" },
    base: { label: `${owner}:main`, ref: "main", repo: { id: 1, name: repo, full_name: name } },
  };
}
