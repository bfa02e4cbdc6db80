import { readOrg } from "../store/snapshot.ts";
import { readLinkedProjects, readWorkers } from "../store/workers.ts";
import type { Caller, Coordinator } from "./context.ts";
import { workerTerms } from "./filters.ts";
import { encodeId } from "./ids.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageRows,
  readPageToken,
  writePageToken,
} from "./pages.ts";
import type { Term } from "./rules/filter.ts";
import { isWorkerMatch } from "./rules/worker-filter.ts";
import type { WorkerView } from "./workers.ts";

/** Which workers a list holds. */
export interface WorkerListFilter {
  /** Only those that are attached and not disabled. */
  readonly isOnline: boolean;
  /** Only those that the caller owns. */
  readonly isMine?: boolean;
  /** As people write it. */
  readonly text: string;
  /** The field that it came in, for errors. */
  readonly field: string;
}

/** A list of workers, with the place in it that a token names. */
export interface WorkerListing {
  readonly terms: readonly Term[];
  readonly limit: number;
  /** Null: from the first one. */
  readonly anchor: { readonly isBefore: boolean; readonly name: string } | null;
  /** The token of the page after, or before, a name. */
  tokenOf(way: "after" | "before", name: string): string;
}

/** Checks a request for a page of workers. */
export function workerListingOf(
  orgId: string,
  { isOnline, isMine = false, text, field, ...page }: PageRequest & WorkerListFilter,
  limits: { readonly most?: number } = {},
): WorkerListing {
  const terms = workerTerms(text, field);
  const identity: ListIdentity = { list: "workers", orgId, filter: [isOnline, isMine, terms] };
  const [way, name] = readPageToken(identity, page, [/^(after|before)$/, /^/]) ?? [];
  return {
    terms,
    limit: pageRows(page, limits),
    anchor: name === undefined ? null : { isBefore: way === "before", name },
    tokenOf: (to, of) => writePageToken(identity, [to, of]),
  };
}

/** Workers that one statement reads, and that a page with a filter looks at before it ends, full or not. */
const chunkRows = 1_000;
const mostExamined = 20_000;

/** Lists workers by name. A page may be short of its size, and still not be the last: only an empty token is the end. */
export async function listWorkers(
  c: Pick<Coordinator, "db" | "config">,
  caller: Pick<Caller, "orgId" | "actor" | "personId">,
  request: PageRequest & WorkerListFilter,
): Promise<Page<WorkerView>> {
  const { orgId } = caller;
  const { terms, limit, anchor, tokenOf } = workerListingOf(orgId, request);
  const isAttached = request.isOnline;
  const of = request.isMine === true ? ownedBy(caller) : {};
  return readOrg(c.db.app, orgId, async (tx) => {
    const asksProject = terms.some((term) => term.type === "text" && term.key === "project");
    const projects = asksProject ? await readLinkedProjects(tx, orgId) : new Map<string, string[]>();
    const items: WorkerView[] = [];
    let afterName = anchor?.name ?? null;
    for (let examined = 0; ; examined += chunkRows) {
      const rows = terms.length === 0 ? limit + 1 : chunkRows;
      const chunk = await readWorkers(
        tx,
        orgId,
        { afterName, isAttached, limit: rows, ...of },
        c.config.staleMs,
      );
      for (const worker of chunk) {
        const shownId = encodeId("worker", worker.workerId);
        const linked = projects.get(worker.workerId) ?? [];
        if (isWorkerMatch(terms, { worker, projects: linked, shownId })) items.push(worker);
      }
      const last = items[limit - 1];
      if (items.length > limit && last !== undefined) {
        return { items: items.slice(0, limit), nextPageToken: tokenOf("after", last.name) };
      }
      if (chunk.length < rows) return { items, nextPageToken: "" };
      afterName = chunk.at(-1)?.name ?? null;
      if (examined + rows >= mostExamined) return { items, nextPageToken: tokenOf("after", afterName ?? "") };
    }
  });
}

// A person may have signed in by other names since.
function ownedBy({ actor, personId }: Pick<Caller, "actor" | "personId">) {
  return personId ? { ownerPersonId: personId } : { owner: actor };
}
