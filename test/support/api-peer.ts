import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, type ConnectError, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { makeError } from "@muster/client/errors";
import type { Artifact } from "@muster/client/v1/artifact_service";
import type { Batch, SubmitBatchRequest } from "@muster/client/v1/batch_service";
import type { AttemptEvent, AttemptEventSchema } from "@muster/client/v1/event";
import type {
  CheckWorkResponse,
  ExplainJobResponse,
  ExplainWorkerResponse,
  ListAttentionResponse,
} from "@muster/client/v1/explain_service";
import type { Attempt, Job, JobSchema } from "@muster/client/v1/job";
import type { SubmitJobRequest } from "@muster/client/v1/job_service";
import type { Project, PullRequest } from "@muster/client/v1/project_service";
import type { Status, StatusSchema } from "@muster/client/v1/status_service";
import type { Worker } from "@muster/client/v1/worker";

import type { PeerQueues } from "./api-peer-queues.ts";
import { addRoutes } from "./api-peer-routes.ts";
import { makeState } from "./api-peer-state.ts";
import type { PeerSystem } from "./api-peer-system.ts";

/** A coordinator's API over a state in memory, on a real HTTP listener: what the command line talks to in its tests. */
export interface ApiPeer {
  readonly address: string;
  readonly key: string;
  readonly jobs: Map<string, Job>;
  readonly events: Map<string, AttemptEvent[]>;
  readonly attempts: Map<string, Attempt[]>;
  readonly batches: Map<string, Batch>;
  readonly workers: Map<string, Worker>;
  readonly projects: Map<string, Project>;
  /** By `<type>:<name>`. */
  readonly queues: PeerQueues;
  readonly pullRequests: Map<string, PullRequest>;
  /** What a project that is deleted leaves. */
  waitingJobs: number;
  readonly artifacts: Map<string, Artifact & { bytes: Uint8Array }>;
  readonly explanations: Map<string, ExplainJobResponse>;
  readonly workerExplanations: Map<string, ExplainWorkerResponse>;
  readonly asked: unknown[];
  work: CheckWorkResponse;
  attention: ListAttentionResponse;
  readonly submitted: SubmitJobRequest[];
  readonly submittedBatches: SubmitBatchRequest[];
  /** Names of the methods that were called, in order. */
  readonly calls: string[];
  /** Who calls, and what the coordinator checks of itself. */
  readonly system: PeerSystem;
  /** Hears every unary request. */
  onRequest: ((method: string, message: object) => void) | undefined;
  status: Status;
  /** Adds a job as it is. */
  addJob(job: MessageInitShape<typeof JobSchema>): Job;
  /** Changes a job and tells its watchers. */
  changeJob(jobId: string, change: Partial<Omit<Job, "$typeName" | "$unknown">>): void;
  /** Adds an entry to the record of a job and tells its watchers. */
  addEvent(jobId: string, event: MessageInitShape<typeof AttemptEventSchema>): void;
  /** Shows a new status to all that watch it. */
  changeStatus(status: MessageInitShape<typeof StatusSchema>): void;
  /** The next call of this method (or of any) fails with this error. */
  failNext(error: ConnectError, method?: string): void;
  /** Resolves when this method has been called so often, counted from the start. */
  called(method: string, times: number): Promise<void>;
  /** Cuts every connection. New ones are taken at once. */
  cutConnections(): void;
  close(): Promise<void>;
  /** Starts to listen again, on the same port, after close. */
  reopen(): Promise<void>;
}

/** Starts a peer on a free port. */
export async function startApiPeer(): Promise<ApiPeer> {
  const peer = makeState();
  const { changed, notify, failures, waiters } = peer;
  const guard: Interceptor = (next) => async (request) => {
    const name = request.method.name;
    peer.api.calls.push(name);
    if (!request.stream) peer.api.onRequest?.(name, request.message);
    for (const waiter of waiters) waiter();
    const failure = failures.findIndex(({ method }) => method === undefined || method === name);
    const [failed] = failure < 0 ? [] : failures.splice(failure, 1);
    if (failed !== undefined) throw failed.error;
    if (request.header.get("authorization") !== `Bearer ${peer.api.key}`) {
      throw makeError(Code.Unauthenticated, "the key is not valid", {
        reason: "UNAUTHENTICATED",
        suggestion: "Give a valid key.",
        requestId: "req_1",
      });
    }
    return next(request);
  };
  const adapter = connectNodeAdapter({
    routes: (router) => addRoutes(router, peer.api, { changed, notify }),
    interceptors: [guard],
  });
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    const artifact = peer.api.artifacts.get(request.url?.replace("/artifacts/", "") ?? "");
    if (artifact !== undefined) response.end(artifact.bytes);
    else adapter(request, response);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const listen = (port: number): Promise<number> =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve(portOf(server.address())));
    });
  const port = await listen(0);
  const cutConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return Object.assign(peer.api, {
    address: `http://127.0.0.1:${port}`,
    cutConnections,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cutConnections();
      await closed;
    },
    reopen: async () => {
      await listen(port);
    },
  });
}

function portOf(address: string | AddressInfo | null): number {
  if (address === null || typeof address === "string") throw new Error("not a TCP listener");
  return address.port;
}
