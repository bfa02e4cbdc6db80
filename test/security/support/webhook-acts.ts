import type { Client } from "@connectrpc/connect";
import type { WebhookService } from "@muster/client/v1/webhook_service";

/** Every act on a webhook, each of which writes one row. */
export async function webhookActs(
  webhooks: Client<typeof WebhookService>,
  act: <T>(method: string, call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  const name = "hook";
  const webhook = { name, url: "https://hooks.muster.invalid/in" };
  await act("WebhookService.CreateWebhook", () => webhooks.createWebhook({ webhook }));
  await act("WebhookService.ReplayWebhookDeliveries", () =>
    webhooks.replayWebhookDeliveries({ name, since: { seconds: 1n } }),
  );
  await act("WebhookService.UpdateWebhook", () => webhooks.updateWebhook({ name, disabled: true }));
  await act("WebhookService.RotateWebhookSecret", () => webhooks.rotateWebhookSecret({ name }));
  await act("WebhookService.TestWebhook", () => webhooks.testWebhook({ name }));
  await act("WebhookService.DeleteWebhook", () => webhooks.deleteWebhook({ name }));
}
