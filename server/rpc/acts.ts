import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ActOnJobsRequest,
  type ActOnJobsResponseSchema,
  JobAction,
} from "@muster/client/v1/job_service";
import type { ActTarget } from "../domain/act-matches.ts";
import type { ActAnswer, ActRequest } from "../domain/acts.ts";
import { readJobFilterText } from "../domain/job-lists.ts";
import type { ActType } from "../domain/rules/acts.ts";
import { maxActed } from "../domain/rules/acts.ts";
import { anyJob } from "../store/job-lists.ts";
import {
  type Problems,
  readId,
  readReason,
  readRequestId,
  readTime,
  refuseProblems,
  writeId,
} from "./messages.ts";

/** What is asked to be done to many jobs; refuses all that is wrong. */
export function readAct(request: ActOnJobsRequest): ActRequest {
  const problems: Problems = [];
  const type = actTypes[request.action];
  if (type === undefined) problems.push({ field: "action", message: "is not an action" });
  const target = readTarget(problems, request.jobs);
  const reason = readReason(problems, request.reason);
  const requestId = readRequestId(problems, request.requestId);
  const until = readTime(problems, "until", request.until);
  refuseProblems(problems);
  if (type === undefined || target === null) throw new Error("an act without problems was read");
  return {
    act: { type, reason, until, priority: request.priority ?? null, isForced: request.force },
    target,
    requestId,
    isDryRun: request.dryRun,
    pageToken: request.pageToken,
    confirmed: request.confirmed === undefined ? null : Number(request.confirmed),
  };
}

/** What came of it. */
export function actMessage(answer: ActAnswer): MessageInitShape<typeof ActOnJobsResponseSchema> {
  const { matched, done, skipped, failures, nextPageToken } = answer;
  return {
    done,
    skipped,
    nextPageToken,
    failures: failures.map((one) => ({ ...one, jobId: writeId("job", one.jobId) })),
    ...(matched === null
      ? {}
      : {
          matched: {
            states: matched.states.map(({ state, count }) => ({ state, count: BigInt(count) })),
            atLeast: matched.isAtLeast,
          },
        }),
  };
}

const actTypes: Readonly<Partial<Record<JobAction, ActType>>> = {
  [JobAction.CANCEL]: "cancel",
  [JobAction.RETRY]: "retry",
  [JobAction.PARK]: "park",
  [JobAction.UNPARK]: "unpark",
  [JobAction.SET_PRIORITY]: "set-priority",
  [JobAction.DISCARD]: "discard",
  [JobAction.DELETE]: "delete",
};

function readTarget(problems: Problems, jobs: ActOnJobsRequest["jobs"]): ActTarget | null {
  switch (jobs.case) {
    case "ids": {
      const { jobIds } = jobs.value;
      // More would be read for nothing: the verb refuses them.
      const ids = jobIds
        .slice(0, maxActed + 1)
        .map((id, index) => readId(problems, "job", id, `ids.jobIds[${index}]`) ?? "");
      return { ids };
    }
    case "filter":
      return { text: jobs.value, filter: { ...anyJob, terms: readJobFilterText(jobs.value, "filter") } };
    case undefined:
      problems.push({ field: "ids", message: "or filter must be given" });
      return null;
  }
}
