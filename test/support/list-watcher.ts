import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Job } from "@muster/client/v1/job";
import type { ListJobsRequestSchema } from "@muster/client/v1/job_service";
import type { WatchJobsResponse, WatchService } from "@muster/client/v1/watch_service";

/** A watcher of a page of jobs that knows nothing but what it is told. */
export class ListWatcher {
  /** By id. */
  readonly jobs = new Map<string, Job>();
  /** What came, in order: `reset:<cause>`, `snapshot`, `delta`, `alive`. */
  readonly came: string[] = [];
  revision = "";
  tokens = { nextPageToken: "", previousPageToken: "" };
  counts: Readonly<Record<string, number>> = {};
  readonly #service: Client<typeof WatchService>;
  readonly #list: MessageInitShape<typeof ListJobsRequestSchema>;
  #stop = new AbortController();
  #messages: AsyncIterator<WatchJobsResponse> | undefined;
  #next: Promise<IteratorResult<WatchJobsResponse>> | undefined;

  constructor(service: Client<typeof WatchService>, list: MessageInitShape<typeof ListJobsRequestSchema>) {
    this.#service = service;
    this.#list = list;
  }

  /** Opens the stream; it goes on where the last one ended. */
  open(more: { readonly resumeRevision?: string } = {}): void {
    this.#stop = new AbortController();
    const request = {
      list: this.#list,
      resumeRevision: this.revision,
      interval: { nanos: 50_000_000 },
      ...more,
    };
    this.#messages = this.#service.watchJobs(request, { signal: this.#stop.signal })[Symbol.asyncIterator]();
    this.#pull();
  }

  /** Leaves, and forgets nothing. */
  close(): void {
    this.#stop.abort();
    this.#messages = undefined;
    this.#next = undefined;
  }

  /** Takes messages until a claim about what is known holds. */
  async until(claim: (watcher: ListWatcher) => boolean): Promise<void> {
    while (!claim(this)) {
      const next = await this.#next;
      if (next === undefined || next.done === true) throw new TypeError("the watch ended");
      this.#take(next.value);
      this.#pull();
    }
  }

  /** The ids of the page, newest first. */
  get ids(): string[] {
    return [...this.jobs.keys()].sort().reverse();
  }

  #pull(): void {
    this.#next = this.#messages?.next();
    // Nobody may be waiting when the stream is closed.
    this.#next?.catch(() => undefined);
  }

  #take({ body }: WatchJobsResponse): void {
    switch (body.case) {
      case "reset":
        this.came.push(`reset:${body.value.cause}`);
        this.jobs.clear();
        return;
      case "snapshotBegin":
        this.jobs.clear();
        return;
      case "rows":
        for (const job of body.value.jobs) this.jobs.set(job.jobId, job);
        return;
      case "snapshotEnd": {
        const { revision, nextPageToken, previousPageToken } = body.value;
        this.came.push("snapshot");
        this.revision = revision;
        this.tokens = { nextPageToken, previousPageToken };
        this.#count(body.value.counts);
        return;
      }
      case "delta":
        this.came.push("delta");
        for (const id of body.value.leftJobIds) this.jobs.delete(id);
        for (const job of body.value.jobs) this.jobs.set(job.jobId, job);
        this.revision = body.value.revision;
        if (body.value.tokens !== undefined) {
          const { nextPageToken, previousPageToken } = body.value.tokens;
          this.tokens = { nextPageToken, previousPageToken };
        }
        this.#count(body.value.counts);
        return;
      case "alive":
        this.came.push("alive");
        return;
      case undefined:
        throw new TypeError("a message without a body came");
    }
  }

  #count(
    counts: { readonly states: readonly { readonly state: number; readonly count: bigint }[] } | undefined,
  ): void {
    if (counts === undefined) return;
    this.counts = Object.fromEntries(counts.states.map(({ state, count }) => [state, Number(count)]));
  }
}
