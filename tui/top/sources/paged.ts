import type { Source } from "../store/feed.ts";
import { type PollOptions, polledSource } from "./polled.ts";

/** A page of a list that only goes forward. */
export interface ForwardPage<Row> {
  readonly rows: readonly Row[];
  /** Empty at the end. */
  readonly nextPageToken: string;
  readonly note?: string;
}

/** Which page of which list. */
export interface PagedQuery {
  readonly filter: string;
  /** From an earlier page; empty: the first. */
  readonly pageToken: string;
  readonly isLastPage: boolean;
}

/** Rows of a page. */
export const pageSize = 250;

/** Pages that are walked through to the last one. */
const mostPages = 200;

/**
 * Lists that the server pages forward only, read again and again. The way back is remembered here: tokens of pages
 * are numbers of steps on the way.
 */
export function pagedSources<Row>(
  read: (query: PagedQuery, pageToken: string, signal: AbortSignal) => Promise<ForwardPage<Row>>,
  options: PollOptions = {},
): (query: PagedQuery) => Source<Row> {
  let filter = "";
  let way = [""];
  return (query) => {
    if (query.filter !== filter) {
      filter = query.filter;
      way = [""];
    }
    const steps = way;
    let at = query.isLastPage ? steps.length - 1 : Number(query.pageToken || 0);
    return polledSource<Row>(async (signal) => {
      let page = await read(query, steps[at] ?? "", signal);
      while (query.isLastPage && page.nextPageToken !== "" && at < mostPages) {
        at += 1;
        steps[at] = page.nextPageToken;
        page = await read(query, page.nextPageToken, signal);
      }
      if (page.nextPageToken !== "") steps[at + 1] = page.nextPageToken;
      return {
        rows: page.rows,
        tokens: {
          next: page.nextPageToken === "" ? "" : String(at + 1),
          previous: at === 0 ? "" : String(at - 1),
        },
        ...(page.note === undefined ? {} : { note: page.note }),
      };
    }, options);
  };
}
