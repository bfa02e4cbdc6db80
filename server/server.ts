import { randomUUID } from "node:crypto";
import { Health } from "@muster/client/grpc/health";
import { WorkerService } from "@muster/client/v1/worker_service";
import { advertisedApiAddress, type Config, givenRoleUrls } from "./config.ts";
import { Dispatcher } from "./dispatch/dispatcher.ts";
import { Feed } from "./dispatch/feed.ts";
import { PeerWakes } from "./dispatch/wakes.ts";
import { createWatches } from "./dispatch/watches.ts";
import { createAlertParts } from "./domain/alert-parts.ts";
import { createChecker } from "./domain/checks.ts";
import type { Coordinator, Log } from "./domain/context.ts";
import { Counters } from "./domain/counters.ts";
import { createIdGenerator } from "./domain/ids.ts";
import { createJobToken } from "./domain/job-tokens.ts";
import { createMaintenance, type Maintenance } from "./domain/maintenance.ts";
import { type OwnWorker, registerOwnWorker } from "./domain/own-workers.ts";
import { createProjectNames } from "./domain/project-names.ts";
import { createSettingsCache } from "./domain/settings.ts";
import { createSkillDocuments } from "./domain/skill-documents.ts";
import { createStatusReader } from "./domain/status.ts";
import { createSubmitBatcher } from "./domain/submit.ts";
import { createSystemReader, type SystemContext } from "./domain/system.ts";
import { createWebhookParts } from "./domain/webhook-parts.ts";
import { deriveWebhookKey } from "./domain/webhooks.ts";
import { HostWatch } from "./host.ts";
import { secretsOf } from "./kept-files.ts";
import { startWorkerListener } from "./link/listener.ts";
import { createLinkParts } from "./link/parts.ts";
import { Renewals } from "./link/renewals.ts";
import { workerService } from "./link/service.ts";
import type { LinkSession } from "./link/session.ts";
import { createLog } from "./log.ts";
import { Attempts } from "./maintain/attempts.ts";
import { databaseWatch } from "./maintain/database-watch.ts";
import { Expiry } from "./maintain/expiry.ts";
import { withdrawOffers } from "./maintain/gates.ts";
import { keepKeys } from "./maintain/keys.ts";
import { localWakes } from "./maintain/local-wakes.ts";
import { runLoops } from "./maintain/loop.ts";
import { keepOrgs } from "./maintain/orgs.ts";
import { WantedWorkers } from "./maintain/own-workers.ts";
import { ReleaseSweep } from "./maintain/releases.ts";
import { sweeps } from "./maintain/sweeps.ts";
import { WebhookSender } from "./maintain/webhooks.ts";
import { createArtifactRoute } from "./outbound/artifact-route.ts";
import { deriveUrlKey, type UrlSigner } from "./outbound/artifact-urls.ts";
import { openFileArtifacts } from "./outbound/file-artifacts.ts";
import { Certificates } from "./rpc/certificates.ts";
import { shuttingDown } from "./rpc/errors.ts";
import { createCallGate } from "./rpc/gate.ts";
import { HealthState } from "./rpc/health.ts";
import { jwksRoute } from "./rpc/jwks.ts";
import { type ApiListenerOptions, startApiListener, type Turned } from "./rpc/listener.ts";
import { metricsRoute } from "./rpc/metrics.ts";
import { OpenStreams } from "./rpc/open-streams.ts";
import { type OwnAddresses, serveOwnWorker } from "./rpc/own-addresses.ts";
import { reflectSchema } from "./rpc/reflection.ts";
import { apiRoutes, apiServices } from "./rpc/routes.ts";
import { startKeys } from "./rpc/start-keys.ts";
import { watchKeys } from "./rpc/stream-keys.ts";
import { githubWebhookRoute } from "./rpc/webhooks.ts";
import { assertRuntime } from "./runtime.ts";
import { hasPeers, readCluster, removeCoordinator } from "./store/coordinators.ts";
import { openDatabase } from "./store/database.ts";
import { startEmbeddedPostgres } from "./store/embedded.ts";
import { migrateDatabase } from "./store/migrate.ts";
import { addPartitions } from "./store/partitions.ts";

/** A coordinator at work. */
export interface RunningServer {
  /** `http://host:port` of the API listener. */
  readonly apiAddress: string;
  /** `host:port` of the worker listener. */
  readonly workerAddress: string;
  /** The admin key, if this start made it: shown once; the database has its hash. */
  readonly bootstrapKey: string | null;
  /** Where it is kept, mode 0600; null with a database of your own. */
  readonly adminKeyFile: string | null;
  /** Registers the worker of its own that runs the built-in kinds of an org (`default`), and tells where it is served. */
  registerOwnWorker(
    orgId?: string,
  ): Promise<OwnWorker & OwnAddresses & { readonly maintenance: Maintenance }>;
  /** The orgs that want such a worker now. */
  readonly wanted: Pick<WantedWorkers, "listen">;
  /** Reads the certificates again, changed or not; what cannot be used is logged, and the old ones stay. */
  reload(): void;
  /** Takes nothing new, tells workers to go elsewhere, lets calls end, closes all. Safe to call again. */
  stop(options?: { readonly graceMs?: number }): Promise<void>;
  /** Resolves if the coordinator cannot go on. */
  readonly failed: Promise<Error>;
}

/** Starts a coordinator: database, listeners, dispatch and sweeps. The one place that builds everything. */
export async function startServer(
  config: Config,
  options: { readonly logger?: Log; readonly signal: AbortSignal },
): Promise<RunningServer> {
  assertRuntime(process.versions.node);
  const log = options.logger ?? createLog(config);
  const cleanups: (() => Promise<unknown> | unknown)[] = [];
  const stopAll = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) {
      await Promise.resolve(cleanup()).catch((error: unknown) =>
        log.warn({ err: error }, "a part did not stop"),
      );
    }
  };
  try {
    return await start(config, log, options.signal, cleanups, stopAll);
  } catch (error) {
    await stopAll();
    throw error;
  }
}

async function start(
  config: Config,
  log: Log,
  signal: AbortSignal,
  cleanups: (() => Promise<unknown> | unknown)[],
  stopAll: () => Promise<void>,
): Promise<RunningServer> {
  const embedded = config.databaseUrl === undefined ? await startEmbedded(config.dataDir, log, signal) : null;
  if (embedded) cleanups.push(() => embedded.stop());
  const [secret, ...olderSecrets] = secretsOf(config);
  const url = config.databaseUrl ?? embedded?.url ?? "";
  const urls = await migrateDatabase({
    url,
    secret,
    olderSecrets,
    roleUrls: givenRoleUrls(config),
    mayResetRoles: embedded !== null,
  });
  const db = openDatabase({
    urls,
    appConnections: config.appConnections,
    hotConnections: config.hotConnections,
    timeoutMs: config.databaseTimeoutMs,
  });
  cleanups.push(() => db.close());

  const cluster = await readCluster(db.sweep);
  let clusterEpoch = cluster.epoch;
  const offsetMs = cluster.nowMs - Date.now();
  const nowMs = () => Date.now() + offsetMs;
  const newId = createIdGenerator(nowMs);
  const steadyMs = () => performance.now();
  const counters = new Counters();
  const feed = new Feed(db);
  const settings = createSettingsCache({ db, config });
  const submits = createSubmitBatcher({
    hot: db.hot,
    newId,
    ride: (...news) => dispatcher.ride(...news),
    submitted(orgId, ready) {
      dispatcher.announce(orgId, ready);
      peers.tell("ready", orgId);
    },
    released: (orgId) => peers.released(orgId),
  });
  const coordinatorId = randomUUID();
  const sweeping = new AbortController();
  const attempts = new Attempts(log);
  const attempt = attempts.run;
  const peers = new PeerWakes({
    url: urls.muster_app,
    coordinatorId,
    local: localWakes(() => ({
      coordinator,
      dispatcher,
      sessions,
      feed,
      releases,
      attempt,
      signal: sweeping.signal,
      nowMs: steadyMs,
    })),
    hasPeers: () => hasPeers(db.sweep, coordinatorId, 15_000),
    nowMs: steadyMs,
    log,
  });
  cleanups.push(() => peers.stop());
  const coordinator: Coordinator = {
    coordinatorId,
    db,
    config,
    newId,
    nowMs,
    random: Math.random,
    log,
    counters,
    submits,
    settings,
    projects: createProjectNames({ db }),
    documents: createSkillDocuments({ db }),
    wakes: peers,
  };
  const releases = new ReleaseSweep(coordinator);
  const dispatcher = new Dispatcher({ ...coordinator, staleMs: config.staleMs, nowMs: steadyMs });
  cleanups.push(() => dispatcher.stop());

  const { keys, admit, look, bootstrapKey, adminKeyFile } = await startKeys(coordinator, {
    secrets: [secret, ...olderSecrets],
    isEmbedded: embedded !== null,
  });
  cleanups.push(() => keys.keyNotes.write());

  const shutdown = new AbortController();
  const health = new HealthState(apiServices.map((service) => service.typeName));
  const gate = createCallGate({
    authenticate: admit,
    reflection: config.reflection,
    log,
  });
  const schema = config.reflection === "off" ? null : reflectSchema(apiServices);
  const sessions = new Set<LinkSession>();
  const expiry = new Expiry(coordinator, steadyMs);
  const renewals = new Renewals(db, log, config.heartbeatMs, () => expiry.outage());
  cleanups.push(() => renewals.stop());
  const address = { api: "" };
  const link = createLinkParts({
    coordinator,
    log,
    dispatcher,
    renewals,
    sessions,
    streams: keys.streams,
    createJobToken: (caller, lease) => createJobToken(keys, caller, lease),
    apiAddress: () => address.api,
    clusterEpoch: () => clusterEpoch,
    nowMs: steadyMs,
    attempt,
  });
  const worker = workerService(link);
  const admitsMetrics = async (token: string) =>
    (await look(token, "metrics", "", "")).scopes.includes("platform");
  const signer: UrlSigner = { key: deriveUrlKey(secret), baseUrl: () => address.api, nowMs };
  const artifacts = await openFileArtifacts({ directory: config.artifactsDir, signer });
  const streams = new OpenStreams();
  const host = new HostWatch(config, () => streams.count);
  cleanups.push(() => host.stop());
  const system: SystemContext = { ...coordinator, ownerUrl: url, appUrl: urls.muster_app, host };
  const tls = Certificates.open(config, log);
  if (tls) cleanups.push(() => tls.stop());
  const turnedAway = (why: Turned) => counters.add("muster_turned_away_total", { why });
  const edge = { connectionsPerAddress: config.connectionsPerAddress, turnedAway };
  const webhookKey = deriveWebhookKey(secret);
  const watches = createWatches(coordinator, feed);
  const alerts = createAlertParts(coordinator, [secret, ...olderSecrets]);
  const webhooks = createWebhookParts(keys);
  const wanted = new WantedWorkers();
  const sender = new WebhookSender(webhooks);
  cleanups.push(() => sender.stop());
  const listen = (place: Pick<ApiListenerOptions, "host" | "port" | "tls" | "signal">) =>
    startApiListener({
      ...edge,
      ...place,
      routes: apiRoutes({
        coordinator: { ...coordinator, ...keys },
        artifacts: { ...coordinator, artifacts },
        status: createStatusReader({ db, config }),
        attention: alerts.attention,
        system: createSystemReader(system),
        checker: createChecker({ ...system, artifacts }),
        settings,
        feed,
        watches,
        webhookKey,
        alerts,
        webhooks,
        withdrawOffers: (orgId) => withdrawOffers({ coordinator, sessions }, orgId),
        worker,
        health,
        schema,
      }),
      gate,
      interceptors: [streams.interceptor, watchKeys(look, keys.streams)],
      extraRoutes: [
        createArtifactRoute({ store: artifacts, signer, log }),
        jwksRoute(() => keys.people.tokens.jwks()),
        metricsRoute(counters, admitsMetrics),
        githubWebhookRoute({ coordinator, key: webhookKey, log }),
      ],
      ready: async () => {
        await readCluster(db.app);
        return null;
      },
      health,
      cutOff: () => counters.add("muster_unread_responses_total"),
      halfSent: () => turnedAway("half-sent"),
      corsOrigins: config.corsOrigins,
      log,
    });
  const api = await listen({ host: config.apiHost, port: config.apiPort, tls, signal });
  cleanups.push(() => api.stop({ graceMs: 0 }));
  address.api = advertisedApiAddress(config, api.port) ?? api.address;
  const workers = await startWorkerListener({
    ...edge,
    host: config.workerHost,
    port: config.workerPort,
    tls,
    worker,
    health,
    schema: schema && reflectSchema([WorkerService, Health]),
    gate,
    log,
    shutdownSignal: shutdown.signal,
    cutOff: () => counters.add("muster_unread_responses_total"),
  });
  cleanups.push(() => workers.stop({ graceMs: 0 }));

  const failed = Promise.withResolvers<Error>();
  const swept = runLoops(
    [
      ...sweeps({
        coordinator,
        dispatcher,
        sessions,
        expiry,
        releases,
        ...{ alerts, attempt, wanted },
        webhooks: sender,
        apiAddress: address.api,
        nowMs: steadyMs,
        checkPeers: () => peers.check(),
        prunePolls: () => worker.polls.prune(),
        sawEpoch: (epoch) => {
          if (epoch <= clusterEpoch) return;
          log.warn({ epoch, lastEpoch: clusterEpoch }, "the cluster's epoch has grown: commits were lost");
          clusterEpoch = epoch;
          // Only a Welcome tells them to send again what they kept.
          for (const session of [...sessions]) session.goAway("restart", "the database lost commits");
        },
        ensurePartitions: () => addPartitions(url, nowMs()),
      }),
      keepKeys(keys),
      ...keepOrgs({ ...keys, artifacts }, steadyMs),
      ...(embedded ? [databaseWatch(db, steadyMs, failed.resolve)] : []),
    ],
    log,
    sweeping.signal,
  );
  cleanups.push(async () => {
    sweeping.abort();
    await swept;
    await removeCoordinator(db.sweep, coordinator.coordinatorId);
  });
  health.setServing(true);

  const ownAddresses = serveOwnWorker({
    isTls: tls !== undefined,
    addresses: { address: `http://${workers.address}`, apiAddress: api.address },
    listen: () => listen({ host: "127.0.0.1", port: 0, signal: new AbortController().signal }),
    opened: (listener) => void cleanups.push(() => listener.stop({ graceMs: 0 })),
  });
  const maintenanceOf = createMaintenance({
    config,
    db,
    artifacts,
    ownerUrl: url,
    sweepUrl: urls.muster_sweep,
  });
  let stopped: Promise<void> | undefined;
  const stop = async (graceMs: number): Promise<void> => {
    health.setServing(false);
    await dispatcher.stop();
    for (const session of [...sessions]) session.goAway("restart", "the coordinator stops");
    await Promise.all([submits.drain(), link.accepts.drain(), link.results.drain(), link.reports.drain()]);
    await attempts.ended();
    const reason = shuttingDown();
    const closing = [api.stop({ graceMs }), workers.stop({ graceMs })];
    shutdown.abort(reason);
    await Promise.all(closing);
    await stopAll();
  };
  return {
    apiAddress: address.api,
    workerAddress: workers.address,
    bootstrapKey,
    adminKeyFile,
    failed: failed.promise,
    reload: () => void tls?.reload(),
    wanted,
    registerOwnWorker: async (orgId) => {
      const own = await registerOwnWorker(keys, orgId);
      return { ...own, ...(await ownAddresses()), maintenance: maintenanceOf(own) };
    },
    stop({ graceMs = config.shutdownGraceMs } = {}) {
      stopped ??= stop(graceMs);
      return stopped;
    },
  };
}

function startEmbedded(dataDir: string, log: Log, signal: AbortSignal) {
  const logger = { info: (text: string) => log.info({}, text), warn: (text: string) => log.warn({}, text) };
  return startEmbeddedPostgres({ dataDir, signal, logger });
}
