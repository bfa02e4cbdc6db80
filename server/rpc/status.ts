import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  CoordinatorStatusSchema,
  FlowSchema,
  StatusSchema,
  StatusService,
} from "@muster/client/v1/status_service";
import type { CoordinatorView, FlowView, StatusView, WorkerCounts } from "../domain/status.ts";
import { callerOf } from "./auth.ts";
import { jobMessage } from "./job-messages.ts";
import { type Problems, readDurationIn, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { pause, throwIfEnded } from "./waiting.ts";
import { workerMessage } from "./workers.ts";

/** `muster.v1.StatusService`. */
export function statusService({ status: reader }: ApiParts): ServiceImpl<typeof StatusService> {
  return {
    async getStatus({ detail }, context) {
      return { status: statusMessage(await reader.readStatus(callerOf(context), { isDetailed: detail })) };
    },

    async *watchStatus({ detail, interval }, context) {
      const problems: Problems = [];
      const intervalMs = readDurationIn(problems, "interval", interval, intervalBounds);
      refuseProblems(problems);
      const caller = callerOf(context);
      for (;;) {
        yield { status: statusMessage(await reader.readStatus(caller, { isDetailed: detail })) };
        await pause(intervalMs, context.signal);
        throwIfEnded(context.signal);
      }
    },
  };
}

const intervalBounds = { minMs: 200, maxMs: 60_000, fallbackMs: 1_000, words: "from 200ms to 1m" };

function statusMessage(view: StatusView): MessageInitShape<typeof StatusSchema> {
  return {
    orgId: writeId("org", view.orgId),
    org: view.org,
    workers: workersMessage(view.workers),
    jobs: view.jobs.map(({ state, count }) => ({ state, count: BigInt(count) })),
    projects: view.projects.map(({ name, openPrs, maxOpenPrs }) => ({
      project: name,
      openPrs,
      ...(maxOpenPrs === null ? {} : { maxOpenPrs }),
    })),
    flow: flowMessage(view.flow),
    coordinators: view.coordinators.map(coordinatorMessage),
    time: writeTime(view.time),
    workerList: view.workerList.map(workerMessage),
    running: view.running.map(jobMessage),
    databaseTime: durationFromMs(Math.round(view.databaseMs)),
  };
}

/** A coordinator as it shows its life. */
export function coordinatorMessage(view: CoordinatorView): MessageInitShape<typeof CoordinatorStatusSchema> {
  const { coordinatorId, apiAddress, version, startedAt, seenAt, links } = view;
  const times = { startTime: writeTime(startedAt), seenTime: writeTime(seenAt) };
  return { coordinatorId, apiAddress, version, ...times, links };
}

function workersMessage({ slots, slotsUsed, points, pointsUsed, ...counts }: WorkerCounts) {
  return {
    ...counts,
    slots: BigInt(slots),
    slotsUsed: BigInt(slotsUsed),
    points: BigInt(points),
    pointsUsed: BigInt(pointsUsed),
  };
}

function flowMessage(flow: FlowView): MessageInitShape<typeof FlowSchema> {
  return {
    submitted: BigInt(flow.submitted),
    succeeded: BigInt(flow.succeeded),
    cancelled: BigInt(flow.cancelled),
    dead: BigInt(flow.dead),
    submittedLastMinute: BigInt(flow.submittedLastMinute),
    succeededLastMinute: BigInt(flow.succeededLastMinute),
  };
}
