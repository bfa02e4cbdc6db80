import { expect, test } from "vitest";
import { type PagedQuery, pagedSources } from "../../../../tui/top/sources/paged.ts";
import type { Source } from "../../../../tui/top/store/feed.ts";

const pages = ["a", "b", "c"];

function make(seen: string[] = []): (query: PagedQuery) => Source<string> {
  return pagedSources<string>(async (_query, pageToken) => {
    seen.push(pageToken);
    const at = Number(pageToken || 0);
    return { rows: [pages[at] ?? ""], nextPageToken: at + 1 < pages.length ? String(at + 1) : "" };
  });
}

const query = (pageToken = "", isLastPage = false, filter = ""): PagedQuery => ({
  filter,
  pageToken,
  isLastPage,
});

async function first(source: Source<string>) {
  for await (const message of source.open(new AbortController().signal)) {
    if (message.kind === "snapshot") return { rows: message.rows, ...message.tokens };
  }
  return undefined;
}

test("goes forward by the server's tokens and back by its own memory", async () => {
  const source = make();
  expect(await first(source(query()))).toEqual({ rows: ["a"], next: "1", previous: "" });
  expect(await first(source(query("1")))).toEqual({ rows: ["b"], next: "2", previous: "0" });
  expect(await first(source(query("2")))).toEqual({ rows: ["c"], next: "", previous: "1" });
  expect(await first(source(query("1")))).toEqual({ rows: ["b"], next: "2", previous: "0" });
  expect(await first(source(query("0")))).toEqual({ rows: ["a"], next: "1", previous: "" });
});

test("walks to the last page from the farthest that it knows", async () => {
  const seen: string[] = [];
  const source = make(seen);
  await first(source(query()));
  expect(await first(source(query("", true)))).toEqual({ rows: ["c"], next: "", previous: "1" });
  expect(seen).toEqual(["", "1", "2"]);
});

test("forgets the way with another filter", async () => {
  const seen: string[] = [];
  const source = make(seen);
  await first(source(query()));
  await first(source(query("1")));
  await first(source(query("", false, "kind:a")));
  expect(seen).toEqual(["", "1", ""]);
});
