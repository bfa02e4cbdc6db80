import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type WebhookDeliverySchema,
  WebhookDeliveryState,
  type WebhookSchema,
  type WebhookService,
} from "@muster/client/v1/webhook_service";
import {
  createWebhook,
  deleteWebhook,
  editWebhook,
  getWebhook,
  listWebhooks,
  rotateWebhookSecret,
  type WebhookView,
} from "../domain/event-webhooks.ts";
import { listDeliveries, replayDeliveries, testWebhook } from "../domain/webhook-deliveries.ts";
import type { DeliveryRow, DeliveryState } from "../store/webhook-deliveries.ts";
import { callerOf } from "./auth.ts";
import { eventFilterMessage, readEventFilter } from "./event-feed.ts";
import {
  type Problems,
  pageOf,
  readDurationIn,
  readOptionalId,
  readTime,
  refuseProblems,
  required,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.WebhookService`. */
export function webhookService({ webhooks: c }: ApiParts): ServiceImpl<typeof WebhookService> {
  return {
    async listWebhooks(request, context) {
      const { items, nextPageToken } = await listWebhooks(c, callerOf(context), pageOf(request));
      return { webhooks: items.map(webhookMessage), nextPageToken };
    },

    async readWebhook({ name }, context) {
      return { webhook: webhookMessage(await getWebhook(c, callerOf(context), name)) };
    },

    async createWebhook({ webhook }, context) {
      const problems: Problems = [];
      const isThere = required(problems, "webhook", webhook);
      const filter = readEventFilter(problems, "webhook.filter", webhook?.filter);
      refuseProblems(problems);
      if (!isThere) throw new Error("what is required was not refused");
      const { name, url, disabled } = webhook;
      const asked = { name, url, filter, isDisabled: disabled };
      const made = await createWebhook(c, callerOf(context), asked, context.signal);
      return { webhook: webhookMessage(made.webhook), secret: made.secret };
    },

    async updateWebhook({ name, url, filter, disabled, reason }, context) {
      const problems: Problems = [];
      const wanted = filter === undefined ? undefined : readEventFilter(problems, "filter", filter);
      refuseProblems(problems);
      const edit = { name, url, filter: wanted, isDisabled: disabled, reason };
      return { webhook: webhookMessage(await editWebhook(c, callerOf(context), edit, context.signal)) };
    },

    async deleteWebhook({ name, reason }, context) {
      await deleteWebhook(c, callerOf(context), { name, reason });
      return {};
    },

    async rotateWebhookSecret({ name, overlap, reason }, context) {
      const problems: Problems = [];
      const overlapMs = readDurationIn(problems, "overlap", overlap, overlapBounds);
      refuseProblems(problems);
      const made = await rotateWebhookSecret(c, callerOf(context), { name, overlapMs, reason });
      return { webhook: webhookMessage(made.webhook), secret: made.secret };
    },

    async testWebhook({ name }, context) {
      const { status, error, tookMs, body } = await testWebhook(c, callerOf(context), name, context.signal);
      return { status, error, took: durationFromMs(tookMs), body };
    },

    async listWebhookDeliveries({ name, state, bodies, ...request }, context) {
      const wanted = { ...pageOf(request), name, state: states[state] ?? null };
      const { items, nextPageToken } = await listDeliveries(c, callerOf(context), wanted);
      return { deliveries: items.map((row) => deliveryMessage(row, bodies)), nextPageToken };
    },

    async replayWebhookDeliveries({ name, revision, failedOnly, reason, ...request }, context) {
      const problems: Problems = [];
      const deliveryId = readOptionalId(problems, "delivery", request.deliveryId, "deliveryId");
      const since = readTime(problems, "since", request.since);
      refuseProblems(problems);
      const replay = { name, deliveryId, revision, since, isFailedOnly: failedOnly, reason };
      const { deliveries, isMore } = await replayDeliveries(c, callerOf(context), replay);
      return { deliveries, hasMore: isMore };
    },
  };
}

const dayMs = 86_400_000;
const overlapBounds = { minMs: 0, maxMs: 7 * dayMs, fallbackMs: dayMs, words: "from 0s to 7d" };

const states: Readonly<Partial<Record<WebhookDeliveryState, DeliveryState>>> = {
  [WebhookDeliveryState.PENDING]: "pending",
  [WebhookDeliveryState.SENT]: "sent",
  [WebhookDeliveryState.FAILED]: "failed",
};

const stateNumbers = {
  pending: WebhookDeliveryState.PENDING,
  sent: WebhookDeliveryState.SENT,
  failed: WebhookDeliveryState.FAILED,
} as const;

function webhookMessage(view: WebhookView): MessageInitShape<typeof WebhookSchema> {
  const { name, url, filter, isDisabled, disabledReason, failures, lastError, revision, pending } = view;
  return {
    ...{ name, url, disabledReason, failures, lastError, revision, pending },
    filter: eventFilterMessage(filter),
    disabled: isDisabled,
    failingSince: writeTime(view.failingSince),
    lastSentTime: writeTime(view.lastSentAt),
    createTime: writeTime(view.createdAt),
    previousSecretExpireTime: writeTime(view.previousSecretEndsAt),
  };
}

function deliveryMessage(
  row: DeliveryRow,
  isWithBody: boolean,
): MessageInitShape<typeof WebhookDeliverySchema> {
  const { eventId, type, tries, status, error } = row;
  return {
    ...{ eventId, type, tries, status, error },
    deliveryId: writeId("delivery", row.deliveryId),
    state: stateNumbers[row.state],
    ...(row.tookMs === null ? {} : { took: durationFromMs(row.tookMs) }),
    createTime: writeTime(row.createdAt),
    nextTime: writeTime(row.state === "pending" ? row.dueAt : null),
    endTime: writeTime(row.endedAt),
    body: isWithBody ? row.body : "",
  };
}
