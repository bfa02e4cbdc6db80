import type { ServiceImpl } from "@connectrpc/connect";
import type { ScheduleService } from "@muster/client/v1/schedule_service";
import { backfillSchedule, listFires, triggerSchedule } from "../domain/fires.ts";
import { previewSchedule } from "../domain/schedule-previews.ts";
import {
  deleteSchedule,
  getSchedule,
  listSchedules,
  pauseSchedule,
  putSchedule,
  resumeSchedule,
} from "../domain/schedules.ts";
import { callerOf } from "./auth.ts";
import {
  type Problems,
  pageOf,
  readReason,
  readRequestId,
  readTime,
  refuseProblems,
  required,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import {
  fireMessage,
  previewMessage,
  readOutcome,
  readOverlap,
  readScheduleSpec,
  readState,
  readTiming,
  scheduleMessage,
} from "./schedule-messages.ts";

/** `muster.v1.ScheduleService`. */
export function scheduleService({ coordinator: c }: ApiParts): ServiceImpl<typeof ScheduleService> {
  return {
    async putSchedule(request, context) {
      const problems: Problems = [];
      const { schedule, allowMissing, createOnly, validateOnly } = request;
      const spec = required(problems, "schedule", schedule)
        ? readScheduleSpec(problems, "schedule", schedule, c.config)
        : null;
      const reason = readReason(problems, request.reason);
      const requestId = readRequestId(problems, request.requestId);
      refuseProblems(problems);
      if (spec === null) throw new Error("a schedule without problems was read");
      const put = await putSchedule(c, callerOf(context), {
        ...{ spec, reason, requestId, etag: schedule?.etag ?? "" },
        ...{ mayCreate: allowMissing, isOnlyNew: createOnly, isDryRun: validateOnly },
      });
      return { schedule: scheduleMessage(put.schedule), created: put.isNew, changed: put.isChanged };
    },

    async getSchedule({ name }, context) {
      return { schedule: scheduleMessage(await getSchedule(c, callerOf(context), name)) };
    },

    async listSchedules(request, context) {
      const problems: Problems = [];
      const { text, kind, labels } = request;
      const state = readState(problems, request.state);
      refuseProblems(problems);
      const asked = { ...pageOf(request), text, kind, labels, state };
      const { items, nextPageToken } = await listSchedules(c, callerOf(context), asked);
      return { schedules: items.map(scheduleMessage), nextPageToken };
    },

    async deleteSchedule({ name, etag, allowMissing, reason }, context) {
      await deleteSchedule(c, callerOf(context), { name, etag, mayBeMissing: allowMissing, reason });
      return {};
    },

    async pauseSchedule({ name, reason }, context) {
      return { schedule: scheduleMessage(await pauseSchedule(c, callerOf(context), { name, reason })) };
    },

    async resumeSchedule({ name, reason }, context) {
      return { schedule: scheduleMessage(await resumeSchedule(c, callerOf(context), { name, reason })) };
    },

    async triggerSchedule({ name, ...request }, context) {
      const problems: Problems = [];
      const overlap = readOverlap(problems, "overlap", request.overlap);
      const reason = readReason(problems, request.reason);
      const requestId = readRequestId(problems, request.requestId);
      refuseProblems(problems);
      const asked = { name, overlap, reason, requestId };
      return { fire: fireMessage(await triggerSchedule(c, callerOf(context), asked)) };
    },

    async backfillSchedule({ name, validateOnly, ...request }, context) {
      const problems: Problems = [];
      const startAt = readTime(problems, "startTime", request.startTime);
      const endAt = readTime(problems, "endTime", request.endTime);
      required(problems, "startTime", request.startTime);
      required(problems, "endTime", request.endTime);
      const overlap = readOverlap(problems, "overlap", request.overlap) ?? "allow";
      const reason = readReason(problems, request.reason);
      refuseProblems(problems);
      if (startAt === null || endAt === null) throw new Error("times without problems were read");
      const { submitted, skipped, existing, fires } = await backfillSchedule(c, callerOf(context), {
        ...{ name, startAt, endAt, overlap, isDryRun: validateOnly, reason },
      });
      return { submitted, skipped, existing, fires: fires.map(fireMessage) };
    },

    async previewSchedule({ of, count, fromTime }, context) {
      const problems: Problems = [];
      if (of.case === undefined) problems.push({ field: "name", message: "or schedule is required" });
      const from = readTime(problems, "fromTime", fromTime);
      const spec = of.case === "schedule" ? readTiming(problems, "schedule", of.value) : null;
      refuseProblems(problems);
      const preview = await previewSchedule(c, callerOf(context), {
        of:
          spec === null
            ? { type: "saved", name: of.case === "name" ? of.value : "" }
            : { type: "spec", spec },
        ...{ count, from },
      });
      return previewMessage(preview);
    },

    async listFires(request, context) {
      const problems: Problems = [];
      const outcome = readOutcome(problems, request.outcome);
      refuseProblems(problems);
      const asked = { ...pageOf(request), name: request.name, outcome };
      const { items, nextPageToken } = await listFires(c, callerOf(context), asked);
      return { fires: items.map(fireMessage), nextPageToken };
    },
  };
}
