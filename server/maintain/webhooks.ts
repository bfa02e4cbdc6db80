import type { WebhookContext } from "../domain/event-webhooks.ts";
import { liveWebhooks, scheduleDeliveries, takeDeliveries, tryDelivery } from "../domain/webhook-sends.ts";
import type { WebhookRow } from "../store/event-webhooks.ts";
import { Attempts } from "./attempts.ts";

/** Tries that run at the same time: of one webhook, of one org, and here at all. A webhook that fails has one. */
const mostOfWebhook = 8;
const mostOfOrg = 16;
const mostHere = 64;

/** Steps of a cursor in one pass: others are due, too. */
const mostSteps = 20;

/**
 * Sends events to webhooks. A pass writes what is due and begins to send it; it waits for no answer, so that whoever
 * answers slowly keeps no other org waiting.
 */
export class WebhookSender {
  readonly #c: WebhookContext;
  readonly #attempts: Attempts;
  readonly #stopped = new AbortController();
  readonly #running = new Map<string, number>();

  constructor(c: WebhookContext) {
    this.#c = c;
    this.#attempts = new Attempts(c.log);
  }

  /** One pass over an org: cursors first, then what is due, as far as there is room. */
  async pass(orgId: string, signal: AbortSignal): Promise<void> {
    const webhooks = await liveWebhooks(this.#c, orgId);
    for (const { webhookId } of webhooks) {
      for (let step = 0; step < mostSteps && !signal.aborted; step++) {
        if (!(await scheduleDeliveries(this.#c, orgId, webhookId))) break;
      }
    }
    for (const webhook of webhooks) {
      if (signal.aborted) return;
      await this.#begin(orgId, webhook);
    }
  }

  /** Resolves when no try runs. */
  async idle(): Promise<void> {
    while (this.#of("") > 0) await this.#attempts.ended();
  }

  /** Cuts what runs off: it is tried again elsewhere, or later. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error("the coordinator stops"));
    await this.idle();
  }

  async #begin(orgId: string, webhook: WebhookRow): Promise<void> {
    const room = this.#roomFor(orgId, webhook);
    if (room <= 0 || this.#stopped.signal.aborted) return;
    const keys = [webhook.webhookId, orgId, ""];
    // The room is taken before it is known what for: others look for room meanwhile.
    for (const key of keys) this.#running.set(key, this.#of(key) + room);
    const leave = (count: number) => {
      for (const key of keys) this.#leave(key, count);
    };
    const taken = await takeDeliveries(this.#c, orgId, webhook.webhookId, room).catch((error: unknown) => {
      leave(room);
      throw error;
    });
    leave(room - taken.length);
    for (const delivery of taken) {
      void this.#attempts.run(`deliver to the webhook ${webhook.name}`, async () => {
        let isSent = false;
        try {
          isSent = await tryDelivery(this.#c, orgId, webhook, delivery, this.#stopped.signal);
        } finally {
          leave(1);
        }
        // Whoever takes one takes the next; after a failure the next pass decides.
        if (isSent) await this.#begin(orgId, { ...webhook, failures: 0 });
      });
    }
  }

  #roomFor(orgId: string, { webhookId, failures }: WebhookRow): number {
    const ofWebhook = (failures > 0 ? 1 : mostOfWebhook) - this.#of(webhookId);
    return Math.min(ofWebhook, mostOfOrg - this.#of(orgId), mostHere - this.#of(""));
  }

  #of(key: string): number {
    return this.#running.get(key) ?? 0;
  }

  #leave(key: string, count: number): void {
    const left = this.#of(key) - count;
    if (left > 0) this.#running.set(key, left);
    else this.#running.delete(key);
  }
}
