import { readWorkerFacts } from "../store/explain.ts";
import type { JobFilter } from "../store/job-lists.ts";
import { readJobs } from "../store/job-views.ts";
import { type ReadyPlace, readRunnableIds } from "../store/runnable-jobs.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound, type Violation } from "./errors.ts";
import { canonicalFilter, checkFilter } from "./job-lists.ts";
import { type JobView, jobView } from "./job-views.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageRows,
  readPageToken,
  uuidForm,
  writePageToken,
} from "./pages.ts";
import { readLines, routesOf } from "./routing.ts";
import { incapableReason } from "./rules/routing.ts";
import { selectWorker, type WorkerName } from "./workers.ts";

/**
 * Lists the ready jobs that a worker could run if it were free, in the order in which they are offered, in the basic
 * view. Gates are not considered. A page may be short of its size, and still not be the last.
 */
export async function listRunnableJobs(
  c: Pick<Coordinator, "db" | "config">,
  { orgId }: Pick<Caller, "orgId">,
  { filter, worker, ...page }: PageRequest & { readonly filter: JobFilter; readonly worker: WorkerName },
): Promise<Page<JobView>> {
  checkFilter(filter);
  checkAlone(filter);
  const { selection, shown } = selectWorker(worker);
  const identity: ListIdentity = { list: "runnable", orgId, filter: [canonicalFilter(filter), worker] };
  const limit = pageRows(page);
  const after = placeOf(readPageToken(identity, page, [/^\d{1,3}$/, /^\d{1,17}$/, uuidForm]));
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const { staleMs } = c.config;
    const [facts] = selection ? await readWorkerFacts(tx, orgId, { staleMs, limit: 1, of: selection }) : [];
    if (facts === undefined) throw notFound("WORKER_NOT_FOUND", shown);
    const { routing, lines } = await readLines(tx, orgId, { staleMs });
    const routes = routesOf(routing);
    const shapeIds = lines
      .filter(({ shape }) => filter.kind === null || shape.kind === filter.kind)
      .filter(({ shape }) => filter.queue === null || shape.queue === filter.queue)
      .filter(({ shape }) => incapableReason(facts, shape, routes(shape.target).route) === null)
      .map(({ shape }) => shape.shapeId);
    const { ids, next } = await readRunnableIds(tx, orgId, filter, { shapeIds, after, limit });
    const rows = new Map(
      (await readJobs(tx, orgId, ids, { isFull: false })).map((row) => [row.asked.jobId, row]),
    );
    return {
      items: ids.flatMap((id) => {
        const row = rows.get(id);
        return row === undefined ? [] : [jobView(row)];
      }),
      nextPageToken:
        next === null
          ? ""
          : writePageToken(identity, [String(next.priority), next.readyAtMicros, next.jobId]),
    };
  });
}

function checkAlone({ states, workerId, terms }: JobFilter): void {
  const violations: Violation[] = [];
  const message = "must be empty together with runnableBy";
  if (states.length > 0) violations.push({ field: "filter.states", message });
  if (workerId !== null) violations.push({ field: "filter.workerId", message });
  if (terms.some((term) => term.type === "word" || term.type === "holder")) {
    violations.push({
      field: "filterText",
      message: "must name no state and no worker together with runnableBy",
    });
  }
  if (violations.length > 0) throw invalidArgument(violations);
}

function placeOf(position: readonly string[] | null): ReadyPlace | null {
  if (position === null) return null;
  const [priority = "", readyAtMicros = "", jobId = ""] = position;
  return { priority: Number(priority), readyAtMicros, jobId };
}
