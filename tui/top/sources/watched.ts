import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Counts, FeedMessage, PageTokens, Source } from "../store/feed.ts";

/** What a message of a `Watch…` stream says, whatever its rows are. */
export type WatchBody<Row> =
  | { readonly case: "reset"; readonly cause: string }
  | { readonly case: "begin"; readonly time: Timestamp | undefined }
  | { readonly case: "rows"; readonly rows: readonly Row[] }
  | {
      readonly case: "end";
      readonly revision: string;
      readonly tokens: PageTokens;
      readonly counts?: Counts | undefined;
      readonly atLeast?: boolean;
    }
  | {
      readonly case: "delta";
      readonly revision: string;
      readonly rows: readonly Row[];
      readonly left: readonly string[];
      readonly tokens?: PageTokens | undefined;
      readonly counts?: Counts | undefined;
      readonly atLeast?: boolean;
    }
  | { readonly case: "alive" };

/**
 * A list over a stream of snapshot and deltas. It goes on by revision where the last connection left off; after a
 * reset the snapshot starts anew. A snapshot is told when it is complete, so a list is never shown by halves.
 */
export function watchedSource<Row>(
  open: (resumeRevision: string, signal: AbortSignal) => AsyncIterable<WatchBody<Row>>,
): Source<Row> {
  let revision = "";
  return {
    idleMs: 45_000,
    open: async function* (signal) {
      let snapshot: Row[] | undefined;
      for await (const body of open(revision, signal)) {
        switch (body.case) {
          case "reset":
            revision = "";
            yield { kind: "reset", cause: body.cause };
            break;
          case "begin":
            snapshot = [];
            break;
          case "rows":
            snapshot?.push(...body.rows);
            break;
          case "end":
            yield snapshotOf(snapshot ?? [], body);
            snapshot = undefined;
            revision = body.revision;
            break;
          case "delta":
            yield deltaOf(body);
            revision = body.revision;
            break;
          case "alive":
            yield { kind: "alive" };
        }
      }
    },
  };
}

function snapshotOf<Row>(
  rows: readonly Row[],
  { tokens, counts, atLeast }: Extract<WatchBody<Row>, { case: "end" }>,
): FeedMessage<Row> {
  return {
    kind: "snapshot",
    rows,
    tokens,
    ...(counts === undefined ? {} : { counts }),
    ...(atLeast === undefined ? {} : { atLeast }),
  };
}

function deltaOf<Row>(body: Extract<WatchBody<Row>, { case: "delta" }>): FeedMessage<Row> {
  const { rows, left, tokens, counts, atLeast } = body;
  return {
    kind: "delta",
    rows,
    left,
    ...(tokens === undefined ? {} : { tokens }),
    ...(counts === undefined ? {} : { counts }),
    ...(atLeast === undefined ? {} : { atLeast }),
  };
}
