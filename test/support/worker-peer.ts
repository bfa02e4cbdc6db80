import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type handleBidiStreamingCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from "@grpc/grpc-js";
import { grpcJsDefinition } from "@muster/client/grpc-js";
import {
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type Hello,
  type OfferedLeaseSchema,
  type Result,
  ResultStatus,
  Verdict,
  type WelcomeSchema,
} from "@muster/client/v1/link";
import type { LinkConflictSchema } from "@muster/client/v1/session";
import { WorkerService } from "@muster/client/v1/worker_service";
import { grpcTwins, PeerError, statusOf, wrongKey } from "./worker-peer-twins.ts";

/** A frame for a worker, without ceremony. */
export type FrameInit = NonNullable<MessageInitShape<typeof ConnectResponseSchema>["frame"]>;
/** A lease for a worker, without ceremony. */
export type LeaseInit = Init<typeof OfferedLeaseSchema>;
type Init<T extends DescMessage> = Exclude<MessageInitShape<T>, { readonly $typeName: string }>;
/** A lease with an id. */
export type IdentifiedLease = LeaseInit & { lease: { jobId: string; attempt: number; leaseId: string } };
/** Why the peer does not take a Hello. */
export interface PeerRefusal {
  readonly code: number;
  readonly message: string;
  readonly reason: string;
}

/** How the peer behaves; may be changed at any time. */
export interface PeerBehaviour {
  /** What a stream meets: `hang` never answers it. */
  stream: "serve" | "unimplemented" | "unavailable" | "hang";
  /** What the unary twins over gRPC meet. */
  twins: "serve" | "unimplemented";
  /** Answers heartbeats. */
  echoes: boolean;
  /** Acknowledges reports. */
  acksReports: boolean;
  /** Acknowledges results. */
  acksResults: ResultStatus | false;
  /** Confirms accepts of exclusive leases. */
  confirms: boolean;
  /** Verdict on each lease that a Hello lists as held. */
  verdict: Verdict;
  /** Refuses Hellos. */
  refusal: PeerRefusal | undefined;
  /** Ends a link at its Hello instead of a Welcome. */
  sendsAway: Extract<FrameInit, { case: "goingAway" }>["value"] | undefined;
  /** What of the next publications it does not take over. */
  conflicts: Init<typeof LinkConflictSchema>[];
  /** Changes the Welcome. */
  welcome: Init<typeof WelcomeSchema>;
}

/** A link to the peer. */
export interface PeerLink {
  readonly hello: Hello;
  readonly epoch: bigint;
  readonly kind: "stream" | "poll";
  isOpen: boolean;
  send(frame: FrameInit): void;
  /** Ends it: a stream with OK, a poll with LINK_NOT_ATTACHED. */
  end(): void;
}

/** What a worker sent, and on which link. */
export interface ReceivedFrame {
  readonly link: PeerLink;
  readonly request: ConnectRequest;
}

/** A coordinator of a few lines that keeps nothing: speaks WorkerService, records frames, answers as it is told. */
export class WorkerPeer implements AsyncDisposable {
  readonly key = "mk_worker_test_0123456789abcdef_abcdef";
  readonly behaviour: PeerBehaviour = {
    stream: "serve",
    twins: "serve",
    echoes: true,
    acksReports: true,
    acksResults: ResultStatus.COMMITTED,
    confirms: true,
    verdict: Verdict.KEEP,
    refusal: undefined,
    sendsAway: undefined,
    conflicts: [],
    welcome: {},
  };
  /** All frames but the Hellos. */
  readonly received: ReceivedFrame[] = [];
  readonly links: PeerLink[] = [];
  /** Results by id, as they came first. */
  readonly results = new Map<string, Result>();
  /** Called for each result that came for the first time. */
  onResults: (link: PeerLink, results: readonly Result[]) => void = () => {};
  address = "";
  #offerSequence = 0n;
  #leases = 0;
  #exclusive = new Set<string>();
  #waiters = new Set<() => void>();
  readonly #server = new Server();

  static async start(port = 0): Promise<WorkerPeer> {
    const peer = new WorkerPeer();
    await peer.#listen(port);
    return peer;
  }

  /** The newest link. */
  get link(): PeerLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error("no worker has attached");
    return link;
  }

  /** A lease with fresh ids. */
  lease(init: LeaseInit = {}): IdentifiedLease {
    const n = ++this.#leases;
    const lease = { jobId: `job_${n}`, attempt: 1, leaseId: `lse_${n}` };
    return { kind: "noop", points: 1, maxAttempts: 3, idempotencyKey: `key-${n}`, ...init, lease };
  }

  /** Offers leases on the newest link; answers with their sequence. */
  offer(...leases: readonly LeaseInit[]): bigint {
    return this.offerOn(this.link, leases);
  }

  offerOn(link: PeerLink, leases: readonly LeaseInit[]): bigint {
    const sequence = ++this.#offerSequence;
    for (const { exclusive, lease } of leases) {
      if (exclusive === true && lease?.leaseId !== undefined) this.#exclusive.add(lease.leaseId);
    }
    link.send({
      case: "offer",
      value: { sequence, answerWithin: durationFromMs(10_000), leases: [...leases] },
    });
    return sequence;
  }

  /** The first frame, received or to come, from index `from` on, that `find` makes something of. */
  async find<T>(find: (request: ConnectRequest, link: PeerLink) => T | undefined, from = 0): Promise<T> {
    for (let index = from; ; ) {
      for (; index < this.received.length; index++) {
        const frame = this.received[index];
        const found = frame === undefined ? undefined : find(frame.request, frame.link);
        if (found !== undefined) return found;
      }
      await this.#changed();
    }
  }

  /** The result of a lease, once it comes. */
  async resultOf(leaseId: string): Promise<Result> {
    for (;;) {
      for (const result of this.results.values()) if (result.lease?.leaseId === leaseId) return result;
      await this.#changed();
    }
  }

  /** Resolves when the condition holds; it is looked at after each frame and each Hello. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.#changed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.links) link.end();
    this.#server.forceShutdown();
  }

  /** Takes a Hello; the link that it opens sends through `send`. */
  attach(hello: Hello, kind: PeerLink["kind"], send: (frame: FrameInit) => void, end: () => void): PeerLink {
    const link: PeerLink = { hello, epoch: BigInt(this.links.length + 1), kind, isOpen: true, send, end };
    this.links.push(link);
    this.#offerSequence = 0n;
    this.#wake();
    return link;
  }

  welcome(link: PeerLink): Extract<FrameInit, { case: "welcome" }> {
    const { welcome, verdict } = this.behaviour;
    const value = {
      protocol: { major: 1, minor: 0 },
      workerId: "wrk_test",
      workerName: "test",
      linkEpoch: link.epoch,
      heartbeatInterval: durationFromMs(5000),
      staleAfter: durationFromMs(15_000),
      killGrace: durationFromMs(10_000),
      verdicts: link.hello.heldLeases.map((lease) => ({ lease, verdict })),
      ...welcome,
    };
    return { case: "welcome", value };
  }

  /** Records a frame and says how it is answered. */
  take(link: PeerLink, request: ConnectRequest): FrameInit[] {
    this.received.push({ link, request });
    const answers = this.#answers(link, request);
    this.#wake();
    return answers;
  }

  #answers(link: PeerLink, { frame }: ConnectRequest): FrameInit[] {
    const { echoes, acksReports, acksResults, confirms } = this.behaviour;
    switch (frame.case) {
      case "heartbeat":
        return echoes ? [{ case: "heartbeatAck", value: { sequence: frame.value.sequence } }] : [];
      case "report": {
        const last = new Map(frame.value.items.map((item) => [item.lease?.leaseId, item]));
        const items = [...last.values()].flatMap(({ lease, sequence }) =>
          lease === undefined || sequence === 0n ? [] : [{ lease, sequence }],
        );
        return acksReports && items.length > 0 ? [{ case: "eventAck", value: { items } }] : [];
      }
      case "offerReply": {
        const accepted = frame.value.answers.flatMap(({ lease, decline }) =>
          lease !== undefined && decline === undefined && this.#exclusive.has(lease.leaseId) ? [lease] : [],
        );
        return confirms && accepted.length > 0 ? [{ case: "offerAck", value: { leases: accepted } }] : [];
      }
      case "results": {
        const fresh = frame.value.results.filter(({ resultId }) => !this.results.has(resultId));
        if (acksResults === false) return [];
        const status = acksResults;
        const items = frame.value.results.map(({ resultId }) => ({
          resultId,
          status: this.results.has(resultId) ? ResultStatus.DUPLICATE : status,
        }));
        for (const result of fresh) this.results.set(result.resultId, result);
        this.onResults(link, fresh);
        return [{ case: "resultAck", value: { items } }];
      }
      case "linksChanged":
        return [{ case: "linksAck", value: { conflicts: this.behaviour.conflicts } }];
      case "hello":
      case "cancelStatus":
      case undefined:
        return [];
    }
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.add(resolve));
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const resolve of waiters) resolve();
  }

  async #listen(port: number): Promise<void> {
    this.#server.addService(grpcJsDefinition(WorkerService), {
      connect: this.#connect,
      ...grpcTwins(this),
    });
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, number) =>
        error === null ? resolve(number) : reject(error),
      );
    });
    this.address = `127.0.0.1:${bound}`;
  }

  readonly #connect: handleBidiStreamingCall<ConnectRequest, ConnectResponse> = (call) => {
    const { stream } = this.behaviour;
    const isKeyRight = call.metadata.get("authorization")[0] === `Bearer ${this.key}`;
    if (stream === "unimplemented")
      return failStream(call, { code: 12, message: "no such method", reason: "" });
    if (stream === "unavailable")
      return failStream(call, { code: 14, message: "no streams here", reason: "" });
    if (!isKeyRight) return failStream(call, wrongKey);
    let link: PeerLink | undefined;
    call.on("error", () => {});
    call.on("end", () => call.end());
    call.on("close", () => {
      if (link !== undefined) link.isOpen = false;
      this.#wake();
    });
    call.on("data", (request: ConnectRequest) => {
      if (this.behaviour.stream === "hang") return;
      if (link !== undefined) {
        for (const answer of this.take(link, request)) link.send(answer);
        return;
      }
      const { refusal, sendsAway } = this.behaviour;
      if (request.frame.case !== "hello")
        return failStream(call, { code: 9, message: "no Hello", reason: "" });
      if (refusal !== undefined) return failStream(call, refusal);
      const send = (frame: FrameInit) => void call.write(create(ConnectResponseSchema, { frame }));
      if (sendsAway !== undefined) {
        send({ case: "goingAway", value: sendsAway });
        call.end();
        return;
      }
      link = this.attach(request.frame.value, "stream", send, () => call.end());
      link.send(this.welcome(link));
    });
  };
}

function failStream(call: ServerDuplexStream<ConnectRequest, ConnectResponse>, refusal: PeerRefusal): void {
  call.on("error", () => {});
  call.emit("error", statusOf(new PeerError(refusal)));
}
