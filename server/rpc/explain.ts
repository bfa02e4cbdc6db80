import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  AttentionItemSchema,
  ExplainJobResponseSchema,
  ExplainService,
  ReadyLineSchema,
} from "@muster/client/v1/explain_service";
import { explainJob, type JobExplanation } from "../domain/explain.ts";
import { AttentionCause, type AttentionItem } from "../domain/rules/attention.ts";
import { checkWork, explainWorker, type WorkLineView } from "../domain/work-lines.ts";
import { callerOf } from "./auth.ts";
import { jobMessage } from "./job-messages.ts";
import { orNull, type Problems, readOptionalId, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { readWorkerName, workerMessage } from "./workers.ts";

/** `muster.v1.ExplainService`. */
export function explainService({ coordinator: c, attention }: ApiParts): ServiceImpl<typeof ExplainService> {
  return {
    async explainJob(request, context) {
      const problems: Problems = [];
      const jobId = readOptionalId(problems, "job", request.jobId, "jobId");
      if ((request.jobId === "") === (request.externalId === "")) {
        problems.push({ field: "jobId", message: "or externalId must be given, and not both" });
      }
      refuseProblems(problems);
      const externalId = orNull(request.externalId);
      return explanationMessage(await explainJob(c, callerOf(context), { jobId, externalId }));
    },

    async explainWorker(request, context) {
      const found = await explainWorker(c, callerOf(context), readWorkerName([], request));
      const { worker, summary, lines, fixes } = found;
      return { worker: workerMessage(worker), summary, lines: lines.map(lineMessage), fixes: [...fixes] };
    },

    async checkWork({ skills, points, kinds }, context) {
      const { ready, lines } = await checkWork(c, callerOf(context), { skills, points, kinds });
      return { available: ready > 0, ready, lines: lines.map(lineMessage) };
    },

    async listAttention(request, context) {
      const problems: Problems = [];
      const causes = request.causes.flatMap((value, index) => {
        const cause = Object.values(AttentionCause).find((known) => known === value);
        if (cause === undefined) problems.push({ field: `causes[${index}]`, message: "is not a cause" });
        return cause === undefined ? [] : [cause];
      });
      refuseProblems(problems);
      const { items, isTruncated } = await attention.listAttention(callerOf(context), { causes });
      return { items: items.map(itemMessage), truncated: isTruncated };
    },
  };
}

function explanationMessage(found: JobExplanation): MessageInitShape<typeof ExplainJobResponseSchema> {
  return {
    job: jobMessage(found.job),
    summary: found.summary,
    gates: found.gates.map(({ name, isOpen, detail, fix, openAt }) => ({
      ...{ name, detail, fix },
      open: isOpen,
      openTime: writeTime(openAt),
    })),
    workers: found.workers.map(({ workerId, name, reason, detail }) => ({
      workerId: writeId("worker", workerId),
      workerName: name,
      qualifies: reason === null,
      reason: reason ?? "",
      detail,
    })),
    workerCounts: { ...found.workerCounts },
    releases: [...found.releases],
    jobsAhead: found.jobsAhead,
    estimatedStartTime: writeTime(found.estimatedStartAt),
  };
}

function lineMessage(line: WorkLineView): MessageInitShape<typeof ReadyLineSchema> {
  const { kind, queue, points, ready, detail, priority } = line;
  return {
    ...{ kind, queue, points, ready, detail, priority },
    requiredSkills: [...line.skills],
    project: line.project ?? "",
    pool: line.pool ?? "",
    firstJobId: writeId("job", line.firstJobId),
    reason: line.reason ?? "",
    readyTime: writeTime(line.readyAt),
  };
}

function itemMessage(item: AttentionItem): MessageInitShape<typeof AttentionItemSchema> {
  const { cause, severity, summary, effect, fix, command, jobs } = item;
  return {
    ...{ cause, severity, summary, effect, fix, command, jobs },
    attentionId: item.id,
    target: item.target,
    since: writeTime(item.since),
    jobIds: item.jobIds.map((jobId) => writeId("job", jobId)),
  };
}
