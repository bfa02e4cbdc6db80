import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type AuditEntry, AuditEntrySchema } from "@muster/client/v1/audit_service";
import { type Batch, BatchSchema } from "@muster/client/v1/batch_service";
import {
  AttentionCause,
  type AttentionItem,
  AttentionItemSchema,
  AttentionSeverity,
} from "@muster/client/v1/explain_service";
import { JobState } from "@muster/client/v1/job";
import { type DeadLetterGroup, DeadLetterGroupSchema } from "@muster/client/v1/job_service";
import { type Key, KeySchema } from "@muster/client/v1/key_service";
import { type Lease, LeaseSchema } from "@muster/client/v1/lease_service";
import { type Project, ProjectSchema } from "@muster/client/v1/project_service";
import { type Queue, QueueSchema, QueueType } from "@muster/client/v1/queue_service";
import { type Session, SessionSchema, SessionState } from "@muster/client/v1/session";
import { type Attribution, AttributionBy, AttributionSchema } from "@muster/client/v1/stats_service";
import { type Check, CheckLevel, CheckSchema } from "@muster/client/v1/system_service";
import { type Worker, WorkerSchema, WorkerState } from "@muster/client/v1/worker";
import { jobId } from "./peer.ts";
import { sampleMs } from "./sample.ts";

/** What no name, reason or error may do to a terminal. */
export const hostile = "\u001b[2J\u202e\u001b]0;pwned\u0007";

const ago = (seconds: number) => timestampFromMs(sampleMs - seconds * 1000);
const ahead = (seconds: number) => timestampFromMs(sampleMs + seconds * 1000);

/** Workers in several states, by name, one of them hostile. */
export function sampleWorkers(): Worker[] {
  const worker = (name: string, state: WorkerState, leases: number, more: Partial<Worker> = {}): Worker =>
    Object.assign(
      create(WorkerSchema, {
        workerId: `wrk_01jd9y3f4k8qkx2m0000${name
          .replace(/[^a-z0-9]/g, "")
          .padEnd(8, "0")
          .slice(0, 8)}`,
        name,
        state,
        leases,
        pointsUsed: leases * 4,
        capacity: { slots: 2, points: 16 },
        skills: [{ name: "gpu" }, { name: "blender" }],
        kinds: ["render.frame"],
        seenTime: ago(2),
        createTime: ago(86_400),
        version: "0.1.0",
        host: `${name}.lan`,
        transport: "stream",
        linkEpoch: 3n,
      }),
      more,
    );
  return [
    worker(`evil${hostile}`, WorkerState.STALE, 1, { seenTime: ago(48), host: hostile }),
    worker("gpu-1", WorkerState.BUSY, 2),
    worker("gpu-2", WorkerState.IDLE, 0, { labels: { zone: "b" } }),
    worker("lin-11", WorkerState.DRAINING, 1, { drainRequested: true }),
    worker("mac-07", WorkerState.QUARANTINED, 0, {
      quarantineReason: "it lost 3 jobs in 10m",
      quarantineTime: ago(120),
    }),
    worker("old", WorkerState.OFFLINE, 0, { seenTime: ago(7_200) }),
    worker("shut", WorkerState.DISABLED, 0, { seenTime: ago(7_200) }),
  ];
}

/** Leases, longest held first. */
export function sampleLeases(): Lease[] {
  const [evil, gpu] = sampleWorkers();
  const lease = (n: number, worker: Worker | undefined, more: Partial<Lease> = {}): Lease =>
    Object.assign(
      create(LeaseSchema, {
        leaseId: `lse_01jd9y3f4k8qkx2m0000000${n}`,
        jobId: jobId(n),
        kind: "render.frame",
        attempt: n,
        state: JobState.RUNNING,
        workerId: worker?.workerId ?? "",
        workerName: worker?.name ?? "",
        grantTime: ago(n * 61),
        expireTime: ahead(11_520),
        silence: { seconds: 1n, nanos: 200_000_000 },
      }),
      more,
    );
  return [
    lease(3, evil, {
      atRisk: true,
      silence: { $typeName: "google.protobuf.Duration", seconds: 48n, nanos: 0 },
    }),
    lease(2, gpu),
    lease(1, gpu, { state: JobState.OFFERED, cancelRequested: false }),
  ];
}

/** Problems, the worst first. */
export function sampleAttention(): AttentionItem[] {
  const [evil, , , , mac] = sampleWorkers();
  const item = (n: number, change: Partial<AttentionItem>): AttentionItem =>
    Object.assign(
      create(AttentionItemSchema, {
        attentionId: `a${n}`,
        severity: AttentionSeverity.WARNING,
        since: ago(n * 60),
        jobs: n,
        effect: "They wait",
        fix: "Do something",
      }),
      change,
    );
  return [
    item(1, {
      cause: AttentionCause.NO_ROUTE,
      severity: AttentionSeverity.CRITICAL,
      target: "kind:render.frame",
      summary: "No connected worker can run jobs of kind render.frame with skill blender",
      effect: "They stay ready and start by themselves as soon as a worker can run them",
      fix: "Start a worker with skill blender",
      command: `muster job explain ${jobId(1)}`,
      jobIds: [jobId(1)],
    }),
    item(2, {
      cause: AttentionCause.WORKER_QUARANTINED,
      target: mac?.workerId ?? "",
      summary: "Worker mac-07 is quarantined: it lost 3 jobs in 10m",
      command: `muster worker resume ${mac?.workerId}`,
    }),
    item(3, {
      cause: AttentionCause.WORKER_STALE,
      target: evil?.workerId ?? "",
      summary: `Worker evil${hostile} is silent`,
      command: `muster worker get ${evil?.workerId}`,
    }),
    item(4, {
      cause: AttentionCause.PROJECT_CAP,
      target: "project:acme/web",
      summary: "Project acme/web is at its cap: 5 of 5",
      command: "muster project prs acme/web",
    }),
    item(5, {
      cause: AttentionCause.QUEUE_PAUSED,
      severity: AttentionSeverity.NOTICE,
      target: "queue:slow",
      summary: "The queue slow is paused",
      command: "muster queue resume slow",
    }),
  ];
}

/** Queues, kinds and pools. */
export function sampleQueues(): Queue[] {
  const queue = (name: string, more: Partial<Queue> = {}): Queue =>
    Object.assign(
      create(QueueSchema, {
        type: QueueType.QUEUE,
        name,
        leased: 3,
        counts: {
          ready: 3_204n,
          running: 2n,
          offered: 1n,
          scheduled: 22n,
          blocked: 340n,
          submittedLastMinute: 41n,
          endedLastMinute: 52n,
          submitted: 19_000n,
          succeeded: 18_422n,
          cancelled: 4n,
          dead: 12n,
        },
        oldestReadyTime: ago(600),
      }),
      more,
    );
  return [
    queue("default"),
    queue(`evil${hostile}`),
    queue("renders", {
      limits: {
        $typeName: "muster.v1.QueueLimits",
        running: 3,
        startRate: {
          $typeName: "muster.v1.StartRate",
          jobs: 10,
          per: { $typeName: "google.protobuf.Duration", seconds: 60n, nanos: 0 },
        },
      },
    }),
    queue("slow", {
      paused: true,
      pauseReason: `bad deploy ${hostile}`,
      pauseTime: ago(300),
      resumeTime: ahead(900),
    }),
    create(QueueSchema, { type: QueueType.KIND, name: "agent.prompt" }),
    create(QueueSchema, { type: QueueType.POOL, name: "acme-api", paused: true, leased: 1 }),
  ];
}

/** Projects, one at its cap. */
export function sampleProjects(): Project[] {
  return [
    create(ProjectSchema, { name: "acme/docs", openPrs: 1, repository: "acme/docs" }),
    create(ProjectSchema, { name: "acme/web", openPrs: 4, leased: 1, maxOpenPrs: 5, repository: "acme/web" }),
    create(ProjectSchema, { name: `evil${hostile}`, openPrs: 0, maxOpenPrs: 3 }),
  ];
}

/** Sessions of a project. */
export function sampleSessions(): Session[] {
  const [, gpu, other] = sampleWorkers();
  const session = (sessionId: string, more: Partial<Session> = {}): Session =>
    Object.assign(
      create(SessionSchema, {
        sessionId,
        label: sessionId,
        agent: "codex",
        agentSessionId: `agent-${sessionId}`,
        state: SessionState.IDLE,
        project: "acme/web",
        workerId: gpu?.workerId ?? "",
        workerName: gpu?.name ?? "",
        activeTime: ago(60),
        registerTime: ago(3_600),
        usable: true,
      }),
      more,
    );
  return [
    session("main", { primary: true, state: SessionState.BUSY }),
    session("review", { role: "review", workerId: other?.workerId ?? "", workerName: other?.name ?? "" }),
    session("gone", { label: hostile, usable: false, unusableReason: "its worker is not connected" }),
    session("shelved", {
      archived: true,
      archiveTime: ago(60),
      usable: false,
      unusableReason: "it is archived",
    }),
  ];
}

/** Batches, newest first. */
export function sampleBatches(): Batch[] {
  return [
    create(BatchSchema, {
      batchId: "bat_01jd9y3f4k8qkx2m0000000001",
      title: `film ${hostile}`,
      total: 480,
      pending: 69,
      succeeded: 408,
      cancelled: 1,
      dead: 2,
      createTime: ago(3_600),
      states: [
        { state: JobState.RUNNING, count: 9n },
        { state: JobState.READY, count: 60n },
      ],
    }),
    create(BatchSchema, {
      batchId: "bat_01jd9y3f4k8qkx2m0000000000",
      title: "nightly",
      total: 12,
      succeeded: 12,
      createTime: ago(90_000),
    }),
  ];
}

/** Dead letters by equal errors, the largest group first. */
export function sampleGroups(): DeadLetterGroup[] {
  const group = (n: number, count: bigint, kind: string, message: string): DeadLetterGroup =>
    create(DeadLetterGroupSchema, {
      fingerprint: `7f3a0${n}`,
      kind,
      count,
      error: { code: "EXIT_NONZERO", message },
      firstTime: ago(172_800),
      lastTime: ago(n * 3_600),
      sampleJobId: jobId(n),
      hourly: Array.from({ length: 24 }, (_, hour) => (hour * n) % 7),
    });
  return [
    group(1, 1_204n, "index.repo", `git: authentication failed\n${hostile}`),
    group(2, 2n, "render.frame", "CUDA out of memory"),
  ];
}

/** Keys, newest first. */
export function sampleKeys(): Key[] {
  const key = (keyId: string, name: string, more: Partial<Key> = {}): Key =>
    Object.assign(
      create(KeySchema, { keyId, type: "api", name, scopes: ["read"], createTime: ago(86_400) }),
      more,
    );
  return [
    key("4fQz81aB9xYw", "ci", { scopes: ["submit", "read"], expireTime: ahead(3 * 86_400) }),
    key("9aaaaaaaaaaa", `evil${hostile}`, { scopes: ["admin"] }),
    key("1bbbbbbbbbbb", "", { type: "worker", workerName: "gpu-1", scopes: ["work"] }),
    key("0ccccccccccc", "leaked", { revokeTime: ago(60) }),
  ];
}

/** Entries of the audit log, newest first. */
export function sampleEntries(): AuditEntry[] {
  const entry = (n: number, action: string, target: string, reason: string): AuditEntry =>
    create(AuditEntrySchema, {
      auditId: `aud_01jd9y3f4k8qkx2m000000000${n}`,
      time: ago(n * 60),
      actor: "key:4fQz81aB9xYw",
      action,
      target,
      reason,
      requestId: `req_${n}`,
      details: { before: { priority: 128 }, after: { priority: 192 }, note: hostile },
    });
  return [
    entry(1, "job.cancel", jobId(1), `wrong branch ${hostile}`),
    entry(2, "worker.drain", sampleWorkers()[1]?.workerId ?? "", ""),
    entry(3, "key.create", "4fQz81aB9xYw", "for ci"),
  ];
}

/** Who did how much: owners of workers, or authors of pull requests. */
export function sampleAttributions(by: AttributionBy): Attribution[] {
  const row = (contributor: string, project: string, more: Partial<Attribution>): Attribution =>
    Object.assign(create(AttributionSchema, { contributor, project, runTime: { seconds: 5_400n } }), more);
  if (by === AttributionBy.AUTHOR) return [row("octo-ada", "acme/web", { pullRequests: 4n, merged: 3n })];
  return [
    row("", "", { succeeded: 7n }),
    row("ada", "acme/docs", { succeeded: 12n, failed: 1n }),
    row("ada", "acme/web", { succeeded: 1_204n, failed: 31n, pullRequests: 41n, merged: 38n }),
    row(`evil${hostile}`, "acme/web", { succeeded: 2n }),
  ];
}

/** Checks of the server. */
export function sampleChecks(): Check[] {
  const check = (id: string, level: CheckLevel, detail: string, fix = ""): Check =>
    create(CheckSchema, { id, level, took: { seconds: 0n, nanos: 12_000_000 }, detail, fix });
  return [
    check("database.reachable", CheckLevel.OK, "answers in 1.2ms"),
    check("schema.migrations", CheckLevel.OK, "0031, none pending"),
    check(
      "database.oldest-transaction",
      CheckLevel.WARN,
      `open for 4m ${hostile}`,
      "End the session of pid 4711.",
    ),
    check("artifacts.store", CheckLevel.FAIL, "cannot write", "Free some space."),
    check("tls.expiry", CheckLevel.SKIP, "no TLS here"),
  ];
}
