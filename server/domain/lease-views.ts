import { type LeaseRow, type LeaseSelection, readLeaseViews } from "../store/lease-views.ts";
import { readOrg } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { checkedState } from "./job-views.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import type { JobState } from "./rules/states.ts";
import { getWorker } from "./workers.ts";

/** The right to run one attempt, while it is current. */
export interface LeaseView {
  readonly leaseId: string;
  readonly jobId: string;
  readonly kind: string;
  readonly attempt: number;
  /** OFFERED or RUNNING. */
  readonly state: JobState;
  readonly workerId: string;
  readonly workerName: string;
  readonly grantedAt: Date | null;
  /** When it ends however lively it is. */
  readonly expiresAt: Date | null;
  /** Time since the last heartbeat of its worker; null when that is not attached. */
  readonly silentMs: number | null;
  readonly isCancelRequested: boolean;
  /** Its worker is late, or not attached. */
  readonly isAtRisk: boolean;
}

/** Lists current leases, longest held first; `worker` null for all workers. An unknown worker is WORKER_NOT_FOUND. */
export async function listLeases(
  c: Coordinator,
  caller: Caller,
  {
    worker,
    isAtRisk,
    ...page
  }: PageRequest & {
    readonly worker: { readonly workerId: string | null; readonly name: string | null } | null;
    readonly isAtRisk: boolean;
  },
): Promise<Page<LeaseView>> {
  const { orgId } = caller;
  const identity: ListIdentity = { list: "leases", orgId, filter: [worker, isAtRisk] };
  const limit = pageRows(page);
  const [grantedAt, jobId] = readPageToken(identity, page, [timeForm, uuidForm]) ?? [];
  const after = grantedAt === undefined || jobId === undefined ? null : { grantedAt, jobId };
  const held = worker === null ? null : await getWorker(c, caller, worker);
  const rows = await read(c, orgId, {
    worker: held === null ? null : { workerId: held.workerId },
    isAtRisk,
    after,
    limit: limit + 1,
  });
  return pageOf(rows, limit, identity, (row) => [row.position, row.jobId], leaseView);
}

/** Reads a current lease by its id, or by that of its job: exactly one of them is given. */
export async function getLease(
  c: Pick<Coordinator, "db" | "config">,
  caller: Caller,
  { leaseId, jobId }: { readonly leaseId: string | null; readonly jobId: string | null },
): Promise<LeaseView> {
  if ((leaseId === null) === (jobId === null)) {
    throw invalidArgument([{ field: "leaseId", message: "or jobId must be given, and not both" }]);
  }
  const selection = leaseId !== null ? { leaseId } : { jobId: jobId ?? "" };
  const [row] = await read(c, caller.orgId, selection);
  if (row === undefined) {
    throw notFound(
      "LEASE_NOT_FOUND",
      leaseId !== null ? encodeId("lease", leaseId) : encodeId("job", jobId ?? ""),
    );
  }
  return leaseView(row);
}

const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

function read(
  c: Pick<Coordinator, "db" | "config">,
  orgId: string,
  selection: LeaseSelection,
): Promise<LeaseRow[]> {
  return readOrg(c.db.app, orgId, (tx) => readLeaseViews(tx, orgId, selection, c.config.staleMs));
}

function leaseView({ leaseId, workerId, workerName, state, position: _, ...row }: LeaseRow): LeaseView {
  if (leaseId === null || workerId === null) throw new Error("a leased row without a lease was read");
  return { ...row, leaseId, workerId, workerName: workerName ?? "", state: checkedState(state) };
}
