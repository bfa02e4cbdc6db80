import { describe, expect, test } from "vitest";
import { githubHost, githubPullRequest, pullRequestUrl } from "../../../server/domain/rules/pull-requests.ts";

describe("the one form of a pull request's URL", () => {
  test.each([
    ["https://github.com/acme/web/pull/7", "https://github.com/acme/web/pull/7"],
    ["http://GitHub.com/acme/web/pull/7/", "https://github.com/acme/web/pull/7"],
    ["  https://github.com/acme/web/pull/7/files?w=1#diff-1\n", "https://github.com/acme/web/pull/7"],
    ["https://github.com/acme/web/pull/7/commits/abc", "https://github.com/acme/web/pull/7"],
    ["https://github.com/acme/web/pull/7/checks?check_run_id=1", "https://github.com/acme/web/pull/7"],
    ["https://kim:secret@github.com/acme/web/pull/7", "https://github.com/acme/web/pull/7"],
    ["https://github.com/Acme/Web.js/pull/7/files", "https://github.com/acme/web.js/pull/7"],
    ["http://127.0.0.1:8080/acme/web/pull/7", "https://127.0.0.1:8080/acme/web/pull/7"],
    [
      "https://gitlab.example/Acme/web/-/merge_requests/3/",
      "https://gitlab.example/Acme/web/-/merge_requests/3",
    ],
    ["https://x.example/files", "https://x.example/files"],
  ])("of %j is %j", (text, form) => expect(pullRequestUrl(text)).toBe(form));

  test.each([
    "",
    "none",
    "acme/web#7",
    "ftp://github.com/acme/web/pull/7",
    "javascript:alert(1)",
    "https://github.com",
    "https://github.com/",
    "https://",
    "https://git hub.com/acme/web/pull/7",
    "https://github.com/acme\u0000/web/pull/7",
    "https://github.com/acme/web/pull/7\u202e\u0007",
    `https://github.com/${"a".repeat(2_000)}`,
  ])("is none for %j", (text) => expect(pullRequestUrl(text)).toBeNull());
});

test("a pull request is read from the URLs of its own GitHub alone", () => {
  const url = "https://github.com/acme/web/pull/7";
  expect(githubPullRequest(url, "github.com")).toEqual({ owner: "acme", repository: "web", number: 7 });
  expect(githubPullRequest(url, "ghe.example")).toBeNull();
  expect(githubPullRequest("https://github.com/acme/web/issues/7", "github.com")).toBeNull();
  expect(githubPullRequest("https://github.com/acme/web/pull/7777777777", "github.com")).toBeNull();
});

test.each([
  ["https://api.github.com", "github.com"],
  ["https://api.acme.ghe.com", "acme.ghe.com"],
  ["https://ghe.example/api/v3", "ghe.example"],
  ["https://api.example/api/v3", "api.example"],
  ["http://127.0.0.1:8080", "127.0.0.1:8080"],
])("the pages of the GitHub at %s are at %s", (api, host) => expect(githubHost(api)).toBe(host));
