import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { type ProjectService, type PullRequest, PullRequestState } from "@muster/client/v1/project_service";
import { githubSyncPayload, readPayload } from "../domain/built-in-kinds.ts";
import { type GithubPullRequest, githubHost, githubPullRequest } from "../domain/rules/pull-requests.ts";
import type { KindContext, KindParts } from "./context.ts";
import { type Github, GithubLimited, GithubRefused } from "./github.ts";

/** What the handler works with. */
export interface SyncParts extends KindParts {
  readonly github: Github;
  /** Base of its REST API: pull requests of other hosts are left alone. */
  readonly apiUrl: string;
  readonly projects: Pick<Client<typeof ProjectService>, "listPullRequests" | "setPullRequestState">;
}

/** What a `github.sync` job came to. */
export interface SyncResult {
  /** Repositories that were asked for. */
  readonly repositories: number;
  /** Pull requests that were looked at. */
  readonly pullRequests: number;
  readonly closed: number;
  readonly merged: number;
  readonly reopened: number;
  /** Repositories and pull requests that GitHub does not show to us: gone, or not for this token. */
  readonly unreadable: readonly string[];
}

/**
 * The built-in kind `github.sync`, payload `{ "project"?: string }`: asks GitHub where the pull requests stand that
 * are open here, or were closed without being merged, and says what is news. A list a repository, and a call for each
 * that is open here and not there. When the rate is spent the job parks until GitHub takes calls again; what it has
 * said by then stays said.
 */
export function githubSync(parts: SyncParts): (ctx: KindContext) => Promise<SyncResult> {
  const host = githubHost(parts.apiUrl);
  return async (ctx) => {
    const { project } = readPayload("github.sync", githubSyncPayload, ctx.payload, parts.failure);
    const repositories = byRepository(await knownPulls(parts, project, ctx.signal), host);
    const counts = { closed: 0, merged: 0, reopened: 0 };
    const unreadable: string[] = [];
    let done = 0;
    let looked = 0;
    try {
      for (const [name, pulls] of repositories) {
        ctx.progress(done / repositories.size, name);
        looked += pulls.length;
        for (const news of await newsOf(parts.github, pulls, unreadable, ctx)) {
          const isSaid = await say(parts, news, ctx.signal);
          if (isSaid && news.word !== "authored") counts[news.word]++;
        }
        done++;
      }
    } catch (error) {
      ctx.signal.throwIfAborted();
      if (error instanceof GithubLimited) {
        const reason = `the rate of GitHub is spent; ${done} of ${repositories.size} repositories are done`;
        ctx.park({ reason, wakeAfterMs: error.waitMs });
      }
      if (error instanceof GithubRefused) throw parts.failure(error.message, "GITHUB_TOKEN_INVALID");
      throw error;
    }
    return { repositories: repositories.size, pullRequests: looked, ...counts, unreadable };
  };
}

interface KnownPull extends GithubPullRequest {
  readonly url: string;
  readonly isOpen: boolean;
  /** Empty: not known. */
  readonly author: string;
}

interface News {
  readonly url: string;
  readonly word: "closed" | "merged" | "reopened" | "authored";
  readonly author: string;
}

/** Closed ones may be opened again; those of long ago hardly ever are. */
const closedMax = 1_000;

const states = {
  closed: PullRequestState.CLOSED,
  merged: PullRequestState.MERGED,
  reopened: PullRequestState.OPEN,
  authored: PullRequestState.OPEN,
};

async function knownPulls(parts: SyncParts, project: string, signal: AbortSignal): Promise<PullRequest[]> {
  const read = async (state: PullRequestState, most: number): Promise<PullRequest[]> => {
    const found: PullRequest[] = [];
    let pageToken = "";
    do {
      const request = { project, state, pageSize: 1_000, pageToken };
      const page = await parts.projects.listPullRequests(request, { signal });
      found.push(...page.pullRequests);
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && found.length < most);
    return found.filter((one) => one.counted);
  };
  const open = await read(PullRequestState.OPEN, Number.POSITIVE_INFINITY);
  return [...open, ...(await read(PullRequestState.CLOSED, closedMax))];
}

function byRepository(pulls: readonly PullRequest[], host: string): ReadonlyMap<string, KnownPull[]> {
  const known = pulls.flatMap(({ url, state, author }): KnownPull[] => {
    const parsed = githubPullRequest(url, host);
    return parsed === null ? [] : [{ ...parsed, url, author, isOpen: state === PullRequestState.OPEN }];
  });
  return Map.groupBy(known, ({ owner, repository }) => `${owner}/${repository}`.toLowerCase());
}

async function newsOf(
  github: Github,
  pulls: readonly KnownPull[],
  unreadable: string[],
  ctx: KindContext,
): Promise<News[]> {
  const [first] = pulls;
  if (first === undefined) return [];
  const repository = { owner: first.owner, repo: first.repository };
  const hide = (what: string) => {
    unreadable.push(what);
    ctx.log("warn", `GitHub does not show ${what}: it is gone, or not for this token; nothing was changed`);
  };
  const open = await github.openPullRequests(repository, ctx.signal);
  if (open === null) {
    hide(`${first.owner}/${first.repository}`);
    return [];
  }
  const news: News[] = [];
  for (const { url, number, isOpen, author: known } of pulls) {
    const author = open.get(number) ?? "";
    if (isOpen === open.has(number)) {
      if (isOpen && known === "" && author !== "") news.push({ url, word: "authored", author });
      continue;
    }
    if (!isOpen) {
      news.push({ url, word: "reopened", author });
      continue;
    }
    const found = await github.pullRequest(repository, number, ctx.signal);
    if (found === null) hide(url);
    else if (found.state !== "open") news.push({ url, word: found.state, author: found.author });
  }
  return news;
}

async function say(
  { projects }: SyncParts,
  { url, word, author }: News,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const said = { url, state: states[word], reason: "as GitHub says", author };
    await projects.setPullRequestState(said, { signal });
    return true;
  } catch (error) {
    // Retention may have taken it since it was listed.
    if (ConnectError.from(error).code === Code.NotFound) return false;
    throw error;
  }
}
