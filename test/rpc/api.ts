import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { type ApiError, readError } from "@muster/client/errors";
import { Feed } from "../../server/dispatch/feed.ts";
import { createWatches } from "../../server/dispatch/watches.ts";
import { createAlertParts } from "../../server/domain/alert-parts.ts";
import { createAttentionReader } from "../../server/domain/attention.ts";
import { createChecker } from "../../server/domain/checks.ts";
import type { Caller } from "../../server/domain/context.ts";
import { createKeyContext } from "../../server/domain/keys.ts";
import { createSettingsCache } from "../../server/domain/settings.ts";
import { createStatusReader } from "../../server/domain/status.ts";
import { createSystemReader } from "../../server/domain/system.ts";
import { createWebhookParts } from "../../server/domain/webhook-parts.ts";
import { deriveWebhookKey } from "../../server/domain/webhooks.ts";
import type { Host } from "../../server/host.ts";
import type { ArtifactStore } from "../../server/outbound/artifact-store.ts";
import { createCallGate } from "../../server/rpc/gate.ts";
import { HealthState } from "../../server/rpc/health.ts";
import { startApiListener } from "../../server/rpc/listener.ts";
import { reflectSchema } from "../../server/rpc/reflection.ts";
import { apiRoutes, apiServices } from "../../server/rpc/routes.ts";
import { githubWebhookRoute } from "../../server/rpc/webhooks.ts";
import { type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { keepingLog, type Logged } from "./listening.ts";

/** A feed that tells how often somebody has waited for a job. */
class ObservedFeed extends Feed {
  #waits = 0;
  readonly #observers = new Set<() => void>();

  override waitFor(orgId: string, jobId: string, signal: AbortSignal, maxMs?: number): Promise<void> {
    this.#waits++;
    for (const observer of this.#observers) observer();
    return super.waitFor(orgId, jobId, signal, maxMs);
  }

  /** Resolves when there have been so many waits in all. */
  async waits(count: number): Promise<void> {
    while (this.#waits < count) {
      await new Promise<void>((resolve) => {
        this.#observers.add(resolve);
      });
    }
  }
}

/** The whole API on a test database, without workers. */
export interface TestApi {
  readonly address: string;
  readonly feed: ObservedFeed;
  readonly log: Logged;
  /** Moves the clock of what waits inside this process. */
  advance(ms: number): void;
  /** A client of a new org, or of the given one; `worker` makes it the client of that worker. */
  client(options?: { readonly orgId?: string; readonly workerId?: string }): Promise<TestClient>;
  /** Stops at once, or lets calls end for so long. */
  stop(graceMs?: number): Promise<void>;
}

/** Calls of one key. */
export interface TestClient {
  readonly orgId: string;
  readonly headers: { readonly authorization: string };
  of<T extends DescService>(service: T): Client<T>;
}

/** Opens it. Keys are `Bearer <org id>` and `Bearer <org id>:<worker id>`. */
export async function openApi(db: TestDatabase, artifacts: ArtifactStore = noArtifacts()): Promise<TestApi> {
  const feed = new ObservedFeed(db.database);
  const base = testCoordinator(db);
  const log = keepingLog();
  const settings = createSettingsCache({ db: db.database, config: base.config });
  const wakes = {
    ...base.wakes,
    changed: (orgId: string, jobIds: readonly string[]) => feed.nudge(orgId, jobIds),
  };
  const coordinator = { ...base, wakes, log, settings };
  const keys = createKeyContext(coordinator, { pepper: Buffer.alloc(32, 1) });
  const health = new HealthState(apiServices.map((service) => service.typeName));
  health.setServing(true);
  let aheadMs = 0;
  const gate = createCallGate({
    log,
    reflection: "on",
    async authenticate(token, requestId): Promise<Caller> {
      const [orgId = "", workerId = null] = token.split(":");
      return testCaller(orgId, { requestId, workerId });
    },
  });
  const webhookKey = deriveWebhookKey("secret");
  const system = { ...coordinator, ownerUrl: db.url, appUrl: db.urls.muster_app, host: quietHost };
  const nowMs = () => performance.now() + aheadMs;
  const routes = apiRoutes({
    coordinator: { ...coordinator, ...keys },
    artifacts: { ...coordinator, artifacts },
    status: createStatusReader({ db: db.database, config: base.config }),
    attention: createAttentionReader({ db: db.database, config: base.config }),
    system: createSystemReader(system),
    checker: createChecker({ ...system, artifacts }),
    settings,
    feed,
    withdrawOffers: async () => 0,
    webhookKey,
    alerts: createAlertParts(coordinator, ["secret"]),
    webhooks: createWebhookParts({ ...coordinator, ...keys }),
    watches: createWatches(coordinator, feed, nowMs),
    nowMs,
    worker: noWorkers(),
    health,
    schema: reflectSchema(apiServices),
  });
  const listener = await startApiListener({
    host: "127.0.0.1",
    port: 0,
    routes,
    gate,
    interceptors: [],
    extraRoutes: [githubWebhookRoute({ coordinator, key: webhookKey, log })],
    ready: async () => null,
    health,
    corsOrigins: [],
    log,
    signal: new AbortController().signal,
  });
  return {
    address: listener.address,
    feed,
    log,
    advance(ms) {
      aheadMs += ms;
    },
    async client({ orgId: given, workerId } = {}) {
      const orgId = given ?? (await db.orgId());
      const headers = { authorization: `Bearer ${orgId}${workerId === undefined ? "" : `:${workerId}`}` };
      const transport = createConnectTransport({
        baseUrl: listener.address,
        httpVersion: "2",
        useBinaryFormat: true,
        interceptors: [
          (next) => (request) => {
            request.header.set("authorization", headers.authorization);
            return next(request);
          },
        ],
      });
      return { orgId, headers, of: (service) => createClient(service, transport) };
    },
    stop: (graceMs = 0) => listener.stop({ graceMs }),
  };
}

/** What a call failed with. */
export async function failure(call: Promise<unknown>): Promise<ApiError> {
  const error: unknown = await call.then(
    () => {
      throw new TypeError("the call succeeded");
    },
    (reason: unknown) => reason,
  );
  return readError(error);
}

/** The fields that an error names, with what is wrong. */
export function violationsOf({ detail }: ApiError): string[] {
  return (detail?.violations ?? []).map(({ field, message }) => `${field} ${message}`);
}

const quietHost: Host = {
  read: () => ({
    nodeVersion: "24.21.0",
    rssBytes: 100,
    memoryLimitBytes: 1_000,
    heapBytes: 50,
    heapLimitBytes: 1_000,
    loopDelayMs: 3,
    watches: 2,
  }),
  certificateEndsAt: () => null,
};

function noArtifacts(): ArtifactStore {
  const none = () => Promise.reject(new TypeError("no artifacts here"));
  return { put: none, get: none, stat: none, delete: none, signedUrl: none };
}

function noWorkers(): Parameters<typeof apiRoutes>[0]["worker"] {
  const none = () => Promise.reject(new TypeError("no workers here"));
  return {
    async *connect() {},
    attach: none,
    poll: none,
    answer: none,
    report: none,
    submitResults: none,
    renew: none,
    changeLinks: none,
    listParentResults: none,
    getSkillDocument: none,
    createJobToken: none,
  };
}
