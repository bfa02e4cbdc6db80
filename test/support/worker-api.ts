import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { makeError } from "@muster/client/errors";
import { ArtifactService, type CommitArtifactRequest } from "@muster/client/v1/artifact_service";
import { JobService, type SubmitJobRequest } from "@muster/client/v1/job_service";
import type { ParentResultSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { WorkerPeer } from "./worker-peer.ts";
import { PeerError, peerCalls } from "./worker-peer-twins.ts";

/** The API listener beside a WorkerPeer: the twins over Connect, submits, and artifacts with their uploads. */
export class WorkerPeerApi implements AsyncDisposable {
  readonly submits: SubmitJobRequest[] = [];
  readonly commits: CommitArtifactRequest[] = [];
  /** What ListParentResults answers, a page a call; without one it fails. */
  readonly parentPages: MessageInitShape<typeof ParentResultSchema>[][] = [];
  readonly uploads = new Map<string, Buffer>();
  /** Authorization headers of submits and artifact calls. */
  readonly keys: (string | null)[] = [];
  address = "";
  readonly #jobs = new Map<string, string>();
  readonly #server: Server;

  private constructor(peer: WorkerPeer) {
    const adapter = connectNodeAdapter({ routes: (router) => this.#routes(router, peer) });
    this.#server = createServer((request, response) => {
      if (request.method === "PUT") void this.#upload(request, response);
      else adapter(request, response);
    });
  }

  static async start(peer: WorkerPeer): Promise<WorkerPeerApi> {
    const api = new WorkerPeerApi(peer);
    await new Promise<void>((resolve) => api.#server.listen(0, "127.0.0.1", resolve));
    const bound = api.#server.address();
    api.address = `http://127.0.0.1:${typeof bound === "object" ? bound?.port : ""}`;
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const name = request.url?.split("/").at(-1) ?? "";
    if (name === "refused") {
      response.writeHead(403).end("the URL has expired");
      return;
    }
    this.uploads.set(name, Buffer.concat(chunks));
    response.writeHead(200).end();
  }

  #routes(router: ConnectRouter, peer: WorkerPeer): void {
    const calls = peerCalls(peer);
    const check = (context: HandlerContext) => {
      if (context.requestHeader.get("authorization") === `Bearer ${peer.key}`) return;
      throw makeError(Code.Unauthenticated, "The key is not valid.", {
        reason: "KEY_INVALID",
        suggestion: "Send one.",
      });
    };
    const guarded = async <T>(context: HandlerContext, run: () => T | Promise<T>): Promise<T> => {
      check(context);
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        const { code, message, reason } = error.refusal;
        throw makeError(code, message, { reason, suggestion: "Do otherwise." });
      }
    };
    router.service(WorkerService, {
      attach: (request, context) => guarded(context, () => calls.attach(request)),
      poll: (request, context) =>
        guarded(context, () => calls.poll(request, (gone) => context.signal.addEventListener("abort", gone))),
      answer: (request, context) => guarded(context, () => calls.answer(request)),
      report: (request, context) => guarded(context, () => calls.report(request)),
      submitResults: (request, context) => guarded(context, () => calls.submitResults(request)),
      changeLinks: (request, context) => guarded(context, () => calls.changeLinks(request)),
      renew: (request, context) => guarded(context, () => calls.renew(request)),
      listParentResults: (request, context) =>
        guarded(context, () => {
          const page = Number(request.pageToken);
          const parentResults = this.parentPages[page];
          if (!parentResults) throw new ConnectError("not now", Code.Unavailable);
          return { parentResults, nextPageToken: page + 1 < this.parentPages.length ? `${page + 1}` : "" };
        }),
    });
    router.service(JobService, {
      submitJob: (request, context) => {
        this.keys.push(context.requestHeader.get("authorization"));
        if (request.job?.kind === "") throw new ConnectError("kind is required", Code.InvalidArgument);
        this.submits.push(request);
        const known = this.#jobs.get(request.idempotencyKey);
        const jobId = known ?? `job_child_${this.#jobs.size + 1}`;
        this.#jobs.set(request.idempotencyKey, jobId);
        return { jobId, replayed: known !== undefined };
      },
    });
    router.service(ArtifactService, {
      createArtifact: (request, context) => {
        this.keys.push(context.requestHeader.get("authorization"));
        return { artifactId: `art_${request.name}`, uploadUrl: `${this.address}/upload/${request.name}` };
      },
      commitArtifact: (request) => {
        this.commits.push(request);
        const bytes = this.uploads.get(request.name) ?? Buffer.alloc(0);
        const isWhole = createHash("sha256").update(bytes).digest("hex") === request.sha256;
        if (!isWhole) throw new ConnectError("the digest differs", Code.InvalidArgument);
        return {};
      },
    });
  }
}
