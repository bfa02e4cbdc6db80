import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CheckLevel,
  type CheckSchema,
  type DatabaseStatusSchema,
  LookupType,
  type SystemService,
} from "@muster/client/v1/system_service";
import type { CheckView } from "../domain/checks.ts";
import { type Candidate, lookup, lookupTypes, type LookupType as Sort } from "../domain/lookup.ts";
import type { DatabaseView } from "../domain/system.ts";
import { version } from "../version.ts";
import { callerOf } from "./auth.ts";
import { type Problems, refuseProblems, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { coordinatorMessage } from "./status.ts";

/** `muster.v1.SystemService`. */
export function systemService({
  coordinator: c,
  system,
  checker,
}: ApiParts): ServiceImpl<typeof SystemService> {
  return {
    async getSystem(_, context) {
      const view = await system.readSystem(callerOf(context));
      const { rssBytes, loopDelayMs, watches } = view.process;
      return {
        coordinators: view.coordinators.map(coordinatorMessage),
        database: databaseMessage(view.database),
        version,
        coordinatorId: view.coordinatorId,
        rssBytes: BigInt(rssBytes),
        loopDelay: durationFromMs(Math.round(loopDelayMs)),
        watches,
        time: writeTime(view.time),
      };
    },

    async checkServer(_, context) {
      return { checks: (await checker.checkServer(callerOf(context))).map(checkMessage) };
    },

    async lookup({ text, types, limit }, context) {
      const problems: Problems = [];
      const named = types.includes(LookupType.UNSPECIFIED) ? [] : types;
      const sorts = named.flatMap((type, index) => {
        const sort = sortOf(type);
        if (sort === undefined) problems.push({ field: `types[${index}]`, message: "is not a known type" });
        return sort ?? [];
      });
      refuseProblems(problems);
      const found = await lookup(c, callerOf(context), { text, types: sorts, limit });
      return { candidates: found.candidates.map(candidateMessage), truncated: found.isTruncated };
    },
  };
}

const levels = {
  ok: CheckLevel.OK,
  warn: CheckLevel.WARN,
  fail: CheckLevel.FAIL,
  skip: CheckLevel.SKIP,
} as const;

const types: Readonly<Record<Sort, LookupType>> = {
  job: LookupType.JOB,
  worker: LookupType.WORKER,
  queue: LookupType.QUEUE,
  project: LookupType.PROJECT,
  session: LookupType.SESSION,
  batch: LookupType.BATCH,
  kind: LookupType.KIND,
  skill: LookupType.SKILL,
  key: LookupType.KEY,
};

function sortOf(type: LookupType): Sort | undefined {
  return lookupTypes.find((sort) => types[sort] === type);
}

function databaseMessage(view: DatabaseView): MessageInitShape<typeof DatabaseStatusSchema> {
  const { oldestTransactionMs } = view;
  return {
    version: view.version,
    schema: view.schema,
    embedded: view.isEmbedded,
    connections: view.connections,
    maxConnections: view.maxConnections,
    sizeBytes: BigInt(view.sizeBytes),
    ...(oldestTransactionMs === null
      ? {}
      : { oldestTransaction: durationFromMs(Math.round(oldestTransactionMs)) }),
    roundTrip: durationFromMs(Math.round(view.roundTripMs)),
    clockAhead: durationFromMs(Math.round(view.clockAheadMs)),
  };
}

function checkMessage({ id, level, tookMs, detail, fix }: CheckView): MessageInitShape<typeof CheckSchema> {
  return { id, level: levels[level], took: durationFromMs(Math.round(tookMs)), detail, fix };
}

function candidateMessage({ type, id, label }: Candidate) {
  return { type: types[type], id, label };
}
