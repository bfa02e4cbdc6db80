import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  type Queue,
  QueueCountsSchema,
  QueueLimitsSchema,
  QueueSchema,
  QueueService,
  QueueType,
} from "@muster/client/v1/queue_service";
import {
  type JobSettings,
  JobSettingsSchema,
  type SettingsScope,
  SettingsService,
} from "@muster/client/v1/settings_service";

/** Queues, kinds and pools by `<type>:<name>`. */
export type PeerQueues = Map<string, Queue>;

interface Named {
  readonly type: QueueType;
  readonly name: string;
}

/** Adds the service of settings; each scope keeps what was put. */
export function addSettingsRoutes(router: ConnectRouter): void {
  const kept = new Map<string, JobSettings>();
  const keyOf = (scope: SettingsScope | undefined): string => `${scope?.scope.case}:${scope?.scope.value}`;
  router.service(SettingsService, {
    getSettings: ({ scope }) => ({ settings: kept.get(keyOf(scope)) ?? create(JobSettingsSchema) }),
    putSettings: ({ scope, settings = create(JobSettingsSchema) }) => {
      kept.set(keyOf(scope), settings);
      return { settings };
    },
  });
}

/** Adds the service of queues, kinds and pools. */
export function addQueueRoutes(router: ConnectRouter, queues: PeerQueues): void {
  const make = ({ type, name }: Named): Queue => {
    const key = `${type}:${name}`;
    const isQueue = type === QueueType.QUEUE;
    const queue =
      queues.get(key) ??
      create(QueueSchema, {
        type,
        name,
        limits: {},
        ...(isQueue ? { counts: create(QueueCountsSchema) } : {}),
      });
    queues.set(key, queue);
    return queue;
  };
  const find = ({ type, name }: Named): Queue => {
    const queue = queues.get(`${type}:${name}`);
    if (queue !== undefined) return queue;
    throw makeError(Code.NotFound, `There is no such queue: ${name}`, { reason: "QUEUE_NOT_FOUND" });
  };
  router.service(QueueService, {
    listQueues: ({ type }) => ({ queues: [...queues.values()].filter((one) => one.type === type) }),
    getQueue: (request) => ({ queue: find(request) }),
    setQueueLimits: (request) => {
      const queue = make(request);
      queue.limits = request.limits ?? create(QueueLimitsSchema);
      return { queue };
    },
    pauseQueue: (request) => {
      const { until, reason } = request;
      const queue = make(request);
      Object.assign(queue, {
        paused: true,
        pauseReason: reason,
        pauseTime: timestampNow(),
        resumeTime: until,
      });
      return { queue, withdrawn: 2 };
    },
    resumeQueue: (request) => {
      const queue = find(request);
      Object.assign(queue, { paused: false, pauseReason: "", pauseTime: undefined, resumeTime: undefined });
      return { queue };
    },
  });
}
