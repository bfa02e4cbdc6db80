import { setTimeout as delay } from "node:timers/promises";
import { Octokit } from "@octokit/core";

/** Which GitHub, and as whom. */
export interface GithubSettings {
  /** Base of the REST API, e.g. `https://api.github.com`, or `https://ghe.example/api/v3`. */
  readonly apiUrl: string;
  /** Undefined: as nobody, which reads public repositories, slowly. */
  readonly token: string | undefined;
}

/** A repository. */
export interface Repository {
  readonly owner: string;
  readonly repo: string;
}

/** An open issue. All texts are of whoever wrote it. */
export interface GithubIssue {
  readonly number: number;
  /** Of its page. */
  readonly url: string;
  readonly title: string;
  /** At most 64 Ki characters of it. */
  readonly body: string;
  readonly labels: readonly string[];
  readonly author: string;
}

/** What GitHub says of pull requests and issues. */
export interface Github {
  /** The open issues with a label, oldest first, at most 1,000; null when GitHub does not show the repository to us. */
  labelledIssues(
    repository: Repository,
    label: string,
    signal: AbortSignal,
  ): Promise<readonly GithubIssue[] | null>;
  /**
   * The open pull requests: who opened them (empty: not said), by their numbers; null when GitHub does not show the
   * repository to us.
   */
  openPullRequests(repository: Repository, signal: AbortSignal): Promise<ReadonlyMap<number, string> | null>;
  /** Where one pull request stands, and who opened it; null when GitHub does not show it to us. */
  pullRequest(
    repository: Repository,
    number: number,
    signal: AbortSignal,
  ): Promise<{ readonly state: "open" | "closed" | "merged"; readonly author: string } | null>;
}

/** GitHub takes no more calls of ours until `waitMs` from now. */
export class GithubLimited extends Error {
  override readonly name = "GithubLimited";
  readonly waitMs: number;

  constructor(waitMs: number) {
    super(`GitHub takes no more calls for ${Math.ceil(waitMs / 1_000)} s`);
    this.waitMs = waitMs;
  }
}

/** GitHub does not know the token. */
export class GithubRefused extends Error {
  override readonly name = "GithubRefused";
}

/**
 * Makes a reader of one GitHub. It asks for lists by page, and again only for what changed: answers are kept by their
 * ETag, and "not modified" costs nothing of the rate. 5xx and broken connections are tried again. When the rate is
 * spent every method rejects with GithubLimited, without a call.
 */
export function createGithub(
  { apiUrl, token }: GithubSettings,
  {
    pause = (ms, signal) => delay(ms, undefined, { signal }),
    nowMs = Date.now,
  }: {
    readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
    readonly nowMs?: () => number;
  } = {},
): Github {
  const octokit = new Octokit({ baseUrl: apiUrl.replace(/\/+$/, ""), userAgent: "muster", log: silent });
  const kept = new Map<string, KeptPage>();
  let spentUntilMs = 0;

  const ask = async (route: string, values: RouteValues, signal: AbortSignal): Promise<Answer> => {
    for (let failures = 0; ; failures++) {
      const leftMs = spentUntilMs - nowMs();
      if (leftMs > 0) throw new GithubLimited(leftMs);
      const answer = await call(octokit, route, token, values, signal);
      const limitedMs = limitOf(answer, nowMs());
      if (limitedMs !== null) spentUntilMs = nowMs() + limitedMs;
      if (answer.status === 401) throw new GithubRefused("GitHub does not know the token");
      if (limitedMs !== null && answer.status >= 400) throw new GithubLimited(limitedMs);
      if (answer.status < 500) return answer;
      const waitMs = retryMs[failures];
      if (waitMs === undefined) {
        throw new Error(`GitHub answers ${answer.status}: ${answer.message}`, { cause: answer.cause });
      }
      await pause(waitMs, signal);
    }
  };

  const page = async (
    repository: Repository,
    number: number,
    signal: AbortSignal,
  ): Promise<KeptPage | null> => {
    const key = `${repository.owner}/${repository.repo}/${number}`;
    const before = kept.get(key);
    const answer = await ask(
      "GET /repos/{owner}/{repo}/pulls",
      {
        ...repository,
        state: "open",
        sort: "created",
        direction: "asc",
        per_page: pageSize,
        page: number,
        headers: before === undefined ? {} : { "if-none-match": before.etag },
      },
      signal,
    );
    if (answer.status === 304 && before !== undefined) return before;
    if (answer.status >= 400) return null;
    const found: KeptPage = {
      etag: answer.headers["etag"] ?? "",
      pulls: pullsOf(answer.data),
      isLast: !/;\s*rel="next"/.test(answer.headers["link"] ?? ""),
    };
    kept.delete(key);
    if (found.etag !== "") kept.set(key, found);
    if (kept.size > keptPagesMax) kept.delete(kept.keys().next().value ?? key);
    return found;
  };

  return {
    async labelledIssues(repository, label, signal) {
      const found: GithubIssue[] = [];
      for (let number = 1; ; number++) {
        const values = { ...repository, labels: label, state: "open", sort: "created", direction: "asc" };
        const asked = { ...values, per_page: pageSize, page: number };
        const answer = await ask("GET /repos/{owner}/{repo}/issues", asked, signal);
        if (answer.status >= 400) return null;
        found.push(...issuesOf(answer.data));
        const isLast = !/;\s*rel="next"/.test(answer.headers["link"] ?? "");
        if (isLast || found.length >= issuesMax) return found.slice(0, issuesMax);
      }
    },

    async openPullRequests(repository, signal) {
      const open = new Map<number, string>();
      for (let number = 1; ; number++) {
        const found = await page(repository, number, signal);
        if (found === null) return null;
        for (const [one, author] of found.pulls) open.set(one, author);
        if (found.isLast) return open;
      }
    },

    async pullRequest(repository, number, signal) {
      const values = { ...repository, pull_number: number };
      const answer = await ask("GET /repos/{owner}/{repo}/pulls/{pull_number}", values, signal);
      if (answer.status >= 400) return null;
      const author = authorOf(answer.data);
      if (memberOf(answer.data, "state") === "open") return { state: "open", author };
      const isMerged =
        memberOf(answer.data, "merged") === true || typeof memberOf(answer.data, "merged_at") === "string";
      return { state: isMerged ? "merged" : "closed", author };
    },
  };
}

interface KeptPage {
  readonly etag: string;
  readonly pulls: readonly (readonly [number: number, author: string])[];
  readonly isLast: boolean;
}

type RouteValues = Readonly<Record<string, unknown>> & {
  readonly headers?: Readonly<Record<string, string>>;
};

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly data: unknown;
  /** Why it failed. */
  readonly message: string;
  readonly cause?: unknown;
}

const pageSize = 100;
const issuesMax = 1_000;
const bodyMax = 64 * 1024;
const keptPagesMax = 2_000;
const callMs = 15_000;
const retryMs: readonly number[] = [500, 1_000, 2_000];
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

// Octokit throws what is not a success, "not modified" too; here every answer is a value.
async function call(
  octokit: Octokit,
  route: string,
  token: string | undefined,
  { headers, ...values }: RouteValues,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    const response = await octokit.request(route, {
      ...values,
      headers: { ...authorization, ...headers },
      request: { signal: AbortSignal.any([signal, AbortSignal.timeout(callMs)]) },
    });
    return { status: response.status, headers: headersOf(response), data: response.data, message: "" };
  } catch (error) {
    signal.throwIfAborted();
    const status = memberOf(error, "status");
    if (typeof status !== "number") throw error;
    const response = memberOf(error, "response");
    const message = error instanceof Error ? error.message : String(error);
    return { status, headers: headersOf(response), data: memberOf(response, "data"), message, cause: error };
  }
}

/** For how long GitHub wants no more calls; null when it takes them. */
function limitOf({ status, headers, message }: Answer, localMs: number): number | null {
  const isRefused = status === 403 || status === 429;
  const retryAfter = Number(headers["retry-after"] ?? Number.NaN);
  if (isRefused && retryAfter > 0) return bounded(retryAfter * 1_000);
  if (headers["x-ratelimit-remaining"] === "0" && status !== 304) {
    // The reset is told by GitHub's clock, and so is the time of the answer.
    const sentMs = Date.parse(headers["date"] ?? "");
    const resetMs = Number(headers["x-ratelimit-reset"] ?? Number.NaN) * 1_000;
    const leftMs = resetMs - (Number.isNaN(sentMs) ? localMs : sentMs);
    return bounded(Number.isNaN(leftMs) ? unknownLimitMs : leftMs + 1_000);
  }
  return isRefused && (status === 429 || /rate limit|abuse/i.test(message)) ? unknownLimitMs : null;
}

const unknownLimitMs = 60_000;

function bounded(ms: number): number {
  return Math.min(Math.max(ms, 1_000), 2 * 3_600_000);
}

// A pull request is an issue there, too: it is none of ours.
function issuesOf(data: unknown): GithubIssue[] {
  if (!Array.isArray(data)) throw new Error("GitHub answers a list of issues with something else");
  return data
    .filter((one: unknown) => memberOf(one, "pull_request") === undefined)
    .map((one: unknown) => ({
      number: Number(memberOf(one, "number")),
      url: textOf(memberOf(one, "html_url")),
      title: textOf(memberOf(one, "title")),
      body: textOf(memberOf(one, "body")).slice(0, bodyMax),
      labels: listOf(memberOf(one, "labels")).map((label) =>
        typeof label === "string" ? label : textOf(memberOf(label, "name")),
      ),
      author: textOf(memberOf(memberOf(one, "user"), "login")),
    }));
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function pullsOf(data: unknown): KeptPage["pulls"] {
  if (!Array.isArray(data)) throw new Error("GitHub answers a list of pull requests with something else");
  return data.map((one: unknown) => [Number(memberOf(one, "number")), authorOf(one)] as const);
}

function authorOf(pull: unknown): string {
  const login = memberOf(memberOf(pull, "user"), "login");
  return typeof login === "string" && /^[\w[\]-]{1,100}$/.test(login) ? login : "";
}

function headersOf(response: unknown): Answer["headers"] {
  const headers = memberOf(response, "headers");
  if (typeof headers !== "object" || headers === null) return {};
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
