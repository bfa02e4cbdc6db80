import type { Row } from "postgres";
import type { HotPool } from "../store/hot-pool.ts";
import { parentBytes, readParents, readParentsOf, sizeParents } from "../store/parent-results.ts";
import { call, runInOrg, transact } from "../store/statement.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError } from "./errors.ts";
import { type ListIdentity, readPageToken, writePageToken } from "./pages.ts";
import type { JobState } from "./rules/states.ts";
import type { Lease } from "./submit.ts";
import { readAttemptsOf, superseded } from "./superseded.ts";

/** What a job left to one that depends on it. */
export interface ParentResult {
  readonly jobId: string;
  /** How it ended; null: it is not there any more. */
  readonly state: JobState | null;
  /** UTF-8 JSON, when it succeeded. */
  readonly result: Uint8Array | null;
  readonly kind: string;
  readonly externalId: string | null;
}

/** Bytes of a page of results at most; one result may exceed it. */
const pageBytes = 1024 * 1024;

/** Results of a page at most: with the longest external ids it still is a message that everybody takes. */
const pageRows = 2_500;

/** Results that are offered with a lease at most, in bytes. */
export const offeredBytes = 256 * 1024;

/**
 * Reads what is offered to children with their leases: all that their parents left, in the order in which they were
 * named, for those whose parents left at most 256 KiB.
 *
 * @returns by the child's id; the others ask for theirs.
 */
export async function readOffered(
  pool: HotPool,
  orgId: string,
  children: readonly { readonly jobId: string; readonly parents: readonly string[] }[],
): Promise<Map<string, ParentResult[]>> {
  const pairs = children.flatMap(({ jobId, parents }) => parents.map((parent) => ({ jobId, parent })));
  const parents = [...new Set(pairs.map(({ parent }) => parent))].sort();
  const [rows = []] = await runInOrg(pool, orgId, [
    call(readParents, {
      org: orgId,
      parents,
      low: parents.at(0),
      high: parents.at(-1),
      of: pairs.map(({ jobId }) => jobId),
      names: pairs.map(({ parent }) => parent),
      limit: offeredBytes,
    }),
  ]);
  const left = latest(rows);
  const offered = new Map<string, ParentResult[]>();
  for (const child of children) {
    const own = child.parents.map((parent) => left.get(parent));
    const bytes = own.reduce((sum, row) => sum + Number(row?.["bytes"] ?? Number.POSITIVE_INFINITY), 0);
    if (bytes > offeredBytes) continue;
    offered.set(
      child.jobId,
      child.parents.map((parent) => resultOf(parent, left.get(parent))),
    );
  }
  return offered;
}

/** Lists what the parents of a leased job left, in the order in which they were named. SUPERSEDED when it is not current. */
export async function listParentResults(
  c: Coordinator,
  caller: Caller,
  { lease, pageToken }: { readonly lease: Lease; readonly pageToken: string },
): Promise<{ readonly items: readonly ParentResult[]; readonly nextPageToken: string }> {
  const { orgId, workerId } = caller;
  if (workerId === null) throw new DomainError("SCOPE_MISSING");
  const identity: ListIdentity = { list: "parent-results", orgId, filter: lease.leaseId };
  const [from = "0"] = readPageToken(identity, { pageSize: 0, pageToken }, [/^\d{1,5}$/]) ?? [];
  return transact(c.db.hot, orgId, async (tx) => {
    const { jobId: job, attempt, leaseId } = lease;
    const [row] = await tx.run(
      call(readParentsOf, { org: orgId, job, attempt, lease: leaseId, worker: workerId }),
    );
    if (!row) throw superseded(lease, (await readAttemptsOf(tx, [job])).current.get(job) ?? 0);
    const all = Array.isArray(row["parents"]) ? row["parents"].map(String) : [];
    const begin = Number(from);
    const candidates = all.slice(begin, begin + pageRows);
    if (candidates.length === 0) return { items: [], nextPageToken: "" };
    const sizes = latest(
      await tx.run(call(sizeParents, { org: orgId, parents: candidates, ...bounds(candidates) })),
    );
    const page: string[] = [];
    let bytes = 0;
    for (const parent of candidates) {
      bytes += Number(sizes.get(parent)?.["bytes"] ?? 0);
      if (page.length > 0 && bytes > pageBytes) break;
      page.push(parent);
    }
    const of = page.map(() => job);
    const left = latest(
      await tx.run(
        call(readParents, {
          org: orgId,
          parents: page,
          ...bounds(page),
          of,
          names: page,
          limit: Number.MAX_SAFE_INTEGER,
        }),
      ),
    );
    const end = begin + page.length;
    return {
      items: page.map((parent) => resultOf(parent, left.get(parent))),
      nextPageToken: end < all.length ? writePageToken(identity, [String(end)]) : "",
    };
  });
}

/** How large parents' results are on the wire, about. */
export function wireBytes(results: readonly ParentResult[]): number {
  return results.reduce(
    (sum, { kind, externalId, result }) =>
      sum + parentBytes + kind.length + Buffer.byteLength(externalId ?? "") + (result?.length ?? 0),
    0,
  );
}

// Of a job that was replayed its last run counts.
function latest(rows: readonly Row[]): Map<string, Row> {
  const found = new Map<string, Row>();
  for (const row of rows) {
    const jobId = String(row["job"]);
    if (Number(found.get(jobId)?.["generation"] ?? 0) < Number(row["generation"])) found.set(jobId, row);
  }
  return found;
}

function resultOf(jobId: string, row: Row | undefined): ParentResult {
  const result = row?.["result"];
  const external = row?.["external"] ?? null;
  return {
    jobId,
    // The column holds no other number: every write of it goes through the table of transitions.
    state: row === undefined ? null : (Number(row["state"]) as JobState),
    result: result instanceof Uint8Array ? result : null,
    kind: row === undefined ? "" : String(row["kind"]),
    externalId: external === null ? null : String(external),
  };
}

function bounds(ids: readonly string[]): { readonly low: string; readonly high: string } {
  let low = ids[0] ?? "";
  let high = low;
  for (const id of ids) {
    if (id < low) low = id;
    if (id > high) high = id;
  }
  return { low, high };
}
