import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type JobFilter as FilterMessage,
  type JobCountsSchema,
  JobOrder,
  type ListJobsRequest,
  type ListJobsResponseSchema,
} from "@muster/client/v1/job_service";
import type { Caller } from "../domain/context.ts";
import type { JobCountsView } from "../domain/job-counts.ts";
import { type JobListRequest, listJobs as listJobPage, readJobFilterText } from "../domain/job-lists.ts";
import { JobState } from "../domain/rules/states.ts";
import { listRunnableJobs } from "../domain/runnable-jobs.ts";
import type { JobFilter } from "../store/job-lists.ts";
import { jobMessage } from "./job-messages.ts";
import { orNull, type Problems, pageOf, readId, readOptionalId, refuseProblems } from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** Lists jobs. */
export async function listJobs(
  { coordinator: c, watches }: Pick<ApiParts, "coordinator" | "watches">,
  caller: Caller,
  request: ListJobsRequest,
): Promise<MessageInitShape<typeof ListJobsResponseSchema>> {
  const problems: Problems = [];
  const listing = readListRequest(problems, request);
  const runnableBy = request.filter?.runnableBy ?? "";
  const workerId = runnableBy.startsWith("wrk_")
    ? readId(problems, "worker", runnableBy, "filter.runnableBy")
    : null;
  if (runnableBy !== "") checkAlone(problems, request);
  refuseProblems(problems);
  if (runnableBy !== "") {
    const worker = { workerId, name: workerId === null ? runnableBy : null };
    const page = await listRunnableJobs(c, caller, { ...listing, worker });
    return { jobs: page.items.map(jobMessage), nextPageToken: page.nextPageToken };
  }
  const isCounted = request.counted;
  const { items, counts, ...page } = await listJobPage(c, caller, { ...listing, isCounted }, watches.counts);
  return {
    jobs: items.map(jobMessage),
    nextPageToken: page.nextPageToken,
    previousPageToken: page.previousPageToken,
    revision: page.revision,
    ...(counts === null ? {} : { counts: countsMessage(counts) }),
  };
}

/** Which page of which list a request asks for. Throws FILTER_INVALID. */
export function readListRequest(problems: Problems, request: ListJobsRequest, path = ""): JobListRequest {
  const { filter, filterText, order, lastPage: isLastPage } = request;
  if (JobOrder[order] === undefined) problems.push({ field: `${path}order`, message: "is not an order" });
  return {
    ...pageOf(request),
    filter: {
      ...readFilter(problems, filter, path),
      terms: readJobFilterText(filterText, `${path}filterText`),
    },
    order: order === JobOrder.OLDEST_FIRST ? "oldest-first" : "newest-first",
    isLastPage,
  };
}

/** Jobs by state. */
export function countsMessage({
  states,
  isAtLeast,
}: JobCountsView): MessageInitShape<typeof JobCountsSchema> {
  return { states: states.map(({ state, count }) => ({ state, count: BigInt(count) })), atLeast: isAtLeast };
}

function checkAlone(problems: Problems, { order, counted, lastPage }: ListJobsRequest): void {
  const message = "must be left out together with filter.runnableBy";
  if (order !== JobOrder.UNSPECIFIED) problems.push({ field: "order", message });
  if (counted) problems.push({ field: "counted", message });
  if (lastPage) problems.push({ field: "lastPage", message });
}

function readFilter(
  problems: Problems,
  filter: FilterMessage | undefined,
  path: string,
): Omit<JobFilter, "terms"> {
  const id = (noun: "batch" | "worker" | "job", text: string | undefined, field: string) =>
    readOptionalId(problems, noun, text ?? "", `${path}filter.${field}`);
  const states = (filter?.states ?? []).flatMap((value, index) => {
    const state = Object.values(JobState).find((known) => known === value);
    if (state === undefined) {
      problems.push({ field: `${path}filter.states[${index}]`, message: "is not a state" });
    }
    return state === undefined ? [] : [state];
  });
  return {
    states,
    kind: orNull(filter?.kind ?? ""),
    queue: orNull(filter?.queue ?? ""),
    project: orNull(filter?.project ?? ""),
    labels: filter?.labels ?? {},
    batchId: id("batch", filter?.batchId, "batchId"),
    workerId: id("worker", filter?.workerId, "workerId"),
    parentJobId: id("job", filter?.parentJobId, "parentJobId"),
  };
}
