import type { KeyScope } from "../domain/keys.ts";

/** What a method asks of the caller: nothing, a valid key, or a key with any one of these scopes. */
export type Access = "anybody" | "any-key" | readonly [KeyScope, ...KeyScope[]];

/** Who may read the schema by reflection; health is for anybody. */
export type ReflectionMode = "on" | "off" | "authenticated";

/**
 * Access to every method of the API, by service and method. A method that is not here may be called by nobody,
 * and a test fails. Workers submit child jobs under a lease that they hold, which the verb checks.
 */
export const methodAccess: Readonly<Record<string, Readonly<Record<string, Access>>>> = {
  "muster.v1.JobService": {
    SubmitJob: ["submit", "work"],
    GetJob: ["read"],
    ListJobs: ["read"],
    CancelJob: ["submit", "operate"],
    RetryJob: ["submit", "operate"],
    ParkJob: ["operate"],
    UnparkJob: ["operate"],
    WaitJob: ["read"],
    WatchJob: ["read"],
    ListAttempts: ["read"],
    ListJobEvents: ["read"],
    ListDeadLetters: ["read"],
    DiscardDeadLetter: ["operate"],
    ListDeadLetterGroups: ["read"],
    UpdateJob: ["operate"],
    DeleteJob: ["operate"],
    ActOnJobs: ["operate"],
  },
  "muster.v1.BatchService": {
    SubmitBatch: ["submit", "work"],
    GetBatch: ["read"],
    ListBatches: ["read"],
    WaitBatch: ["read"],
  },
  "muster.v1.WatchService": {
    WatchChanges: ["read"],
    ListChanges: ["read"],
    WatchJobs: ["read"],
    WatchWorkers: ["read"],
    ListEvents: ["read"],
  },
  "muster.v1.StatusService": { GetStatus: ["read"], WatchStatus: ["read"] },
  "muster.v1.ArtifactService": {
    CreateArtifact: ["work"],
    CommitArtifact: ["work"],
    ListArtifacts: ["read"],
    GetArtifactUrl: ["read"],
  },
  "muster.v1.ProjectService": {
    PutProject: ["operate"],
    ListProjects: ["read"],
    GetProject: ["read"],
    DeleteProject: ["operate"],
    ListPullRequests: ["read"],
    SetPullRequestState: ["operate", "work"],
    GetWebhook: ["admin"],
  },
  "muster.v1.QueueService": {
    ListQueues: ["read"],
    GetQueue: ["read"],
    SetQueueLimits: ["operate"],
    PauseQueue: ["operate"],
    ResumeQueue: ["operate"],
  },
  "muster.v1.SessionService": {
    ListSessions: ["read"],
    GetSession: ["read"],
    SetPrimarySession: ["operate"],
    ArchiveSession: ["operate"],
    UnarchiveSession: ["operate"],
    RemoveSession: ["operate"],
    ListLinkedProjects: ["read"],
  },
  "muster.v1.ExplainService": {
    ExplainJob: ["read"],
    ExplainWorker: ["read"],
    CheckWork: ["read", "work"],
    ListAttention: ["read"],
  },
  "muster.v1.SettingsService": { GetSettings: ["read"], PutSettings: ["admin"] },
  "muster.v1.WorkerAdminService": {
    CreateWorker: ["admin"],
    GetWorker: ["read"],
    ListWorkers: ["read"],
    DrainWorker: ["operate"],
    ResumeWorker: ["operate"],
    DisableWorker: ["operate"],
    EnableWorker: ["operate"],
    RemoveWorker: ["admin"],
  },
  "muster.v1.LeaseService": { ListLeases: ["read"], GetLease: ["read"], RevokeLease: ["operate"] },
  "muster.v1.KeyService": {
    WhoAmI: "any-key",
    CreateKey: ["admin"],
    ListKeys: ["admin"],
    RevokeKey: ["admin"],
  },
  "muster.v1.AuditService": { ListAuditEntries: ["operate"] },
  "muster.v1.SystemService": { GetSystem: ["read"], CheckServer: ["operate"], Lookup: ["read"] },
  "muster.v1.WorkerService": {
    Connect: ["work"],
    Attach: ["work"],
    Poll: ["work"],
    Answer: ["work"],
    Report: ["work"],
    SubmitResults: ["work"],
    Renew: ["work"],
    ChangeLinks: ["work"],
    ListParentResults: ["work"],
  },
};

/** The access to a method; undefined when the table does not know it. */
export function accessTo(service: string, method: string, reflection: ReflectionMode): Access | undefined {
  if (service === "grpc.health.v1.Health") return "anybody";
  if (service === "grpc.reflection.v1.ServerReflection") return reflectionAccess(reflection);
  if (service === "grpc.reflection.v1alpha.ServerReflection") return reflectionAccess(reflection);
  return methodAccess[service]?.[method];
}

/** The first scope that is missing, or undefined when the key's scopes are enough. */
export function missingScope(access: readonly KeyScope[], held: readonly string[]): KeyScope | undefined {
  if (held.includes("admin") || access.some((scope) => held.includes(scope))) return undefined;
  return access[0];
}

function reflectionAccess(mode: ReflectionMode): Access {
  return mode === "on" ? "anybody" : "any-key";
}
