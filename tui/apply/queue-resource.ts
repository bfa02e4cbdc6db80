import { toJson } from "@bufbuild/protobuf";
import { type Queue, QueueLimitsSchema, QueueService, QueueType } from "@muster/client/v1/queue_service";
import type { Call } from "../call.ts";
import type { PlainMap } from "../output/message-document.ts";
import { plainMessage } from "../output/message-document.ts";
import { slugForm } from "./bounds.ts";
import { messageOf, orNull, type Resource } from "./resource.ts";

/**
 * The limits of queues, kinds and pools: their spec is QueueLimits. A pause is no matter of files: it is what somebody
 * does when something is wrong. One that nothing limits is there as long as a job names it, and is not exported.
 */
export const queueResources: readonly Resource[] = [
  limitsOf("queue", QueueType.QUEUE),
  limitsOf("kind", QueueType.KIND),
  limitsOf("pool", QueueType.POOL),
];

function limitsOf(kind: string, type: QueueType): Resource {
  const set = (call: Call, name: string, limits: Queue["limits"], reason: string) =>
    call.client(QueueService).setQueueLimits({ type, name, reason, ...(limits && { limits }) }, call.once());
  return {
    kind,
    field: "limits",
    schema: QueueLimitsSchema,
    without: [],
    names: slugForm,
    async read(call, name) {
      const found = await orNull(() => call.client(QueueService).getQueue({ type, name }, call.once()));
      // One without limits is as good as none: nothing in a file made it.
      return isLimited(found?.queue) ? plainLimits(found?.queue) : null;
    },
    // There is no dry run: bounds are judged before.
    check: async (_, __, spec) => plainMessage(QueueLimitsSchema, spec),
    async put(call, name, spec, reason) {
      await set(call, name, messageOf(QueueLimitsSchema, spec), reason);
    },
    async remove(call, name, reason) {
      await set(call, name, messageOf(QueueLimitsSchema, {}), reason);
    },
    async list(call) {
      const found: { name: string; spec: PlainMap }[] = [];
      for (let pageToken = "", isFirst = true; isFirst || pageToken !== ""; isFirst = false) {
        const page = await call
          .client(QueueService)
          .listQueues({ type, pageSize: 1_000, pageToken }, call.once());
        for (const queue of page.queues.filter(isLimited)) {
          found.push({ name: queue.name, spec: plainLimits(queue) });
        }
        pageToken = page.nextPageToken;
      }
      return found;
    },
  };
}

function isLimited(queue: Queue | undefined): boolean {
  return queue?.limits?.running !== undefined || queue?.limits?.startRate !== undefined;
}

function plainLimits(queue: Queue | undefined): PlainMap {
  if (queue?.limits === undefined) return {};
  return plainMessage(QueueLimitsSchema, toJson(QueueLimitsSchema, queue.limits));
}
