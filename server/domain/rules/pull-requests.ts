/** Where a pull request stands. */
export type PullRequestState = "open" | "closed" | "merged";

/** A pull request of a repository at GitHub. */
export interface GithubPullRequest {
  readonly owner: string;
  readonly repository: string;
  readonly number: number;
}

/**
 * The one form of a pull request's URL: https, the host in lower case, without user, query, fragment, and what pages
 * of a pull request add (`/files`, `/commits`, `/checks`, a slash at the end); owner and repository in lower case too,
 * as GitHub takes them in any. Null when the text is no URL of
 * something at a host, or longer than 2,000 characters.
 */
export function pullRequestUrl(text: string): string | null {
  const trimmed = text.trim();
  if (trimmed.length > maxUrlChars || !/^https?:\/\/[^\s\p{Cc}]+$/iu.test(trimmed)) return null;
  const url = URL.parse(trimmed);
  if (url === null || url.hostname === "") return null;
  const path = url.pathname
    .replace(/\/+$/, "")
    .replace(/(\/pull\/\d+)\/(files|commits|checks)(\/.*)?$/, "$1")
    .replace(/^\/[^/]+\/[^/]+\/pull\/\d+$/, (pull) => pull.toLowerCase());
  const form = `https://${url.host}${path}`;
  return path === "" || form.length > maxUrlChars ? null : form;
}

/** The parts of a pull request's URL at the GitHub of this host; null for any other URL. */
export function githubPullRequest(url: string, host: string): GithubPullRequest | null {
  const [, at, owner, repository, number] =
    /^https:\/\/([^/]+)\/([^/]+)\/([^/]+)\/pull\/(\d{1,9})$/.exec(url) ?? [];
  if (at !== host || owner === undefined || repository === undefined) return null;
  return { owner, repository, number: Number(number) };
}

/** The host of the pages of a GitHub, by the address of its REST API: `github.com` for `https://api.github.com`. */
export function githubHost(apiUrl: string): string {
  const { host, pathname } = new URL(apiUrl);
  const isOwnServer = pathname.replace(/\/+$/, "") !== "";
  return isOwnServer ? host : host.replace(/^api\.(?=github\.com$|.+\.ghe\.com$)/, "");
}

const maxUrlChars = 2_000;
