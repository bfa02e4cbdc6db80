import type { Feed } from "../dispatch/feed.ts";
import type { Watches } from "../dispatch/watches.ts";
import type { ChannelParts } from "../domain/alert-channels.ts";
import type { ArtifactContext } from "../domain/artifacts.ts";
import type { AttentionReader } from "../domain/attention.ts";
import type { Checker } from "../domain/checks.ts";
import type { Coordinator } from "../domain/context.ts";
import type { WebhookContext } from "../domain/event-webhooks.ts";
import type { KeyContext } from "../domain/keys.ts";
import type { SettingsCache } from "../domain/settings.ts";
import type { StatusReader } from "../domain/status.ts";
import type { SystemReader } from "../domain/system.ts";

/** What the services of the API work with. */
export interface ApiParts {
  readonly coordinator: Coordinator & KeyContext;
  readonly artifacts: ArtifactContext;
  readonly status: StatusReader;
  readonly attention: AttentionReader;
  readonly system: SystemReader;
  readonly checker: Checker;
  readonly settings: SettingsCache;
  /** Takes back offers of an org that stand behind a paused gate, of the links here. Resolves with their number. */
  readonly withdrawOffers: (orgId: string) => Promise<number>;
  /** What the secrets of webhooks derive from. */
  readonly webhookKey: Uint8Array;
  readonly webhooks: WebhookContext;
  readonly feed: Pick<Feed, "waitFor" | "waitForOrg" | "readSince">;
  readonly watches: Watches;
  readonly alerts: ChannelParts;
  /** A clock that never goes back, in milliseconds. Default: that of the process. */
  readonly nowMs?: () => number;
}
