import { createHash } from "node:crypto";
import { openAsBlob } from "node:fs";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createMusterTransport } from "@muster/client/node";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { JobService, type LeaseRef } from "@muster/client/v1/job_service";
import type { ParentResult } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { ChildJob, JobToken, StoredArtifact, SubmittedJob } from "./context.ts";
import { encodeJson } from "./json.ts";
import type { DocumentName } from "./skill-documents.ts";

const callTimeoutMs = 30_000;
const maxPayloadBytes = 1024 * 1024;

/** Where the API listener is, and who calls. */
export interface ApiOptions {
  /** URL; asked at each call, because the coordinator names it when the link stands. */
  readonly address: () => string;
  /** The worker's key; a job token takes its place where the lease came with one. */
  readonly key: string;
  /** PEM of the authority that signed the server's certificate. */
  readonly ca: string | undefined;
  /** PEM of a certificate to show to the server, and of its private key. */
  readonly certificate?: { readonly cert: string; readonly key: string } | undefined;
}

/** A lease that calls. */
export interface Caller {
  readonly lease: LeaseRef;
  /** Token for calls about its own job; empty when there is none. */
  readonly jobToken: string;
  readonly signal: AbortSignal;
}

/** The calls that handlers make outside the link, over Connect on HTTP/1.1. */
export class Api {
  readonly #options: ApiOptions;

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  /** Submits a child job under the lease. Rejects with a ConnectError. */
  async submit(caller: Caller, job: ChildJob, idempotencyKey: string): Promise<SubmittedJob> {
    const { payload, ...spec } = job;
    const data = encodeJson(payload, "PAYLOAD", maxPayloadBytes);
    const request = {
      job: { ...spec, payload: { content: { case: "data" as const, value: data } } },
      idempotencyKey,
      parent: caller.lease,
    };
    const { jobId, replayed } = await this.#client(JobService, caller).submitJob(request, {
      signal: caller.signal,
    });
    return { jobId, replayed };
  }

  /** Uploads bytes, or the file at a path, and commits them under the lease. */
  async artifact(
    caller: Caller,
    name: string,
    content: Uint8Array | string,
    contentType: string,
  ): Promise<StoredArtifact> {
    const client = this.#client(ArtifactService, caller);
    const { signal, lease } = caller;
    const body = await blobOf(content, contentType);
    const file = {
      lease,
      name,
      contentType,
      sizeBytes: BigInt(body.size),
      sha256: await digestOf(body, signal),
    };
    const { artifactId, uploadUrl } = await client.createArtifact(file, { signal });
    const response = await fetch(uploadUrl, {
      method: "PUT",
      body,
      signal,
      headers: { "content-type": contentType },
    });
    const answer = await response.text();
    if (!response.ok) {
      throw new Error(`the upload of ${name} was answered with ${response.status}: ${answer.slice(0, 500)}`);
    }
    await client.commitArtifact({ ...file, artifactId }, { signal });
    return { artifactId, name, sizeBytes: body.size, sha256: file.sha256 };
  }

  /** Fetches the token of the attempt, and says where it is for. */
  async jobToken(caller: Caller): Promise<JobToken> {
    const { token } = await this.#client(WorkerService, caller).createJobToken(
      { lease: caller.lease },
      { signal: caller.signal },
    );
    return { address: this.#options.address(), key: token };
  }

  /** Reads what the jobs left that the leased one depends on, page by page. */
  async parents(caller: Caller): Promise<ParentResult[]> {
    const client = this.#client(WorkerService, caller);
    const results: ParentResult[] = [];
    for (let pageToken = "", isFirst = true; isFirst || pageToken !== ""; isFirst = false) {
      const page = await client.listParentResults(
        { lease: caller.lease, pageToken },
        { signal: caller.signal },
      );
      results.push(...page.parentResults);
      pageToken = page.nextPageToken;
    }
    return results;
  }

  /** Reads the document of a skill that was offered; with the worker's own key, for all of its attempts. */
  async skillDocument({ skill, digest }: DocumentName): Promise<string> {
    const client = this.#client(WorkerService, { jobToken: "" });
    const { document } = await client.getSkillDocument({ skill, digest });
    return document?.text ?? "";
  }

  #client<S extends typeof JobService | typeof ArtifactService | typeof WorkerService>(
    service: S,
    caller: Pick<Caller, "jobToken">,
  ): Client<S> {
    const { address, key, ca, certificate } = this.#options;
    const transport: Transport = createMusterTransport({
      address: address(),
      key: caller.jobToken === "" ? key : caller.jobToken,
      httpVersion: "1.1",
      timeoutMs: callTimeoutMs,
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined ? {} : { certificate }),
    });
    return createClient(service, transport);
  }
}

async function blobOf(content: Uint8Array | string, type: string): Promise<Blob> {
  // A file is read while it is sent, not before.
  if (typeof content === "string") return openAsBlob(content, { type });
  return new Blob([new Uint8Array(content)], { type });
}

async function digestOf(blob: Blob, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of blob.stream()) {
    signal.throwIfAborted();
    hash.update(chunk);
  }
  return hash.digest("hex");
}
