import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type ConnectResponse,
  ConnectResponseSchema,
  type Hello,
  type OfferedLeaseSchema,
  type Result,
  ResultStatus,
  Verdict,
  type Welcome,
  WelcomeSchema,
} from "@muster/client/v1/link";
import { LinkEngine, type WorkerIdentity } from "../../worker/engine/link-engine.ts";
import type { CloseReason, Port, ToEngine, ToHandlers } from "../../worker/engine/messages.ts";
import { type KeptResult, PendingResults, type ResultOutbox } from "../../worker/engine/pending-results.ts";
import { inlinePorts } from "../../worker/engine/port.ts";
import type { Retention } from "../../worker/engine/resend.ts";
import { FrameQueue } from "../../worker/transport/frame-queue.ts";
import type { Link, Transport } from "../../worker/transport/transport.ts";
import { ManualClock, settled } from "./worker-clock.ts";

type FrameInit = NonNullable<MessageInitShape<typeof ConnectResponseSchema>["frame"]>;
type LeaseInit = Exclude<MessageInitShape<typeof OfferedLeaseSchema>, { readonly $typeName: string }>;

type Frame = Exclude<ConnectRequest["frame"], { case: undefined }>;
type FrameValues = { [F in Frame as F["case"]]: F["value"] };

// Safe: the caller has compared the case.
function frameValue<C extends keyof FrameValues>(frame: ConnectRequest["frame"]): FrameValues[C] {
  return frame.value as FrameValues[C];
}

/** One link of a scripted transport. */
export class ScriptedLink implements Link {
  readonly welcome: Welcome;
  readonly transport = "stream";
  readonly improveAfterMs: number | undefined;
  readonly frames: FrameQueue<ConnectResponse> = new FrameQueue<ConnectResponse>();
  readonly hello: Hello;
  /** What the worker sent, as it came off the wire. */
  readonly sent: ConnectRequest[] = [];
  /** Echo heartbeats. */
  echoes = true;
  /** Hold writes: `send` does not resolve. */
  isStuck = false;
  isClosed = false;

  constructor(hello: Hello, welcome: Welcome, improveAfterMs: number | undefined) {
    this.improveAfterMs = improveAfterMs;
    this.hello = hello;
    this.welcome = welcome;
  }

  async send(frame: ConnectRequest): Promise<void> {
    const request = fromBinary(ConnectRequestSchema, toBinary(ConnectRequestSchema, frame));
    this.sent.push(request);
    if (request.frame.case === "heartbeat" && this.echoes) {
      this.push({ case: "heartbeatAck", value: { sequence: request.frame.value.sequence } });
    }
    if (this.isStuck) await new Promise(() => {});
  }

  push(frame: FrameInit): void {
    this.frames.push(create(ConnectResponseSchema, { frame }));
  }

  close(): void {
    this.isClosed = true;
    this.frames.end();
  }

  /** All frames of a kind. */
  all<C extends keyof FrameValues>(kind: C): FrameValues[C][] {
    return this.sent.flatMap(({ frame }) => (frame.case === kind ? [frameValue<C>(frame)] : []));
  }

  get results(): Result[] {
    return this.all("results").flatMap(({ results }) => results);
  }

  acknowledge(...results: readonly Result[]): void {
    const items = results.map(({ resultId }) => ({ resultId, status: ResultStatus.COMMITTED }));
    this.push({ case: "resultAck", value: { items } });
  }
}

/** A link that says nothing until it is closed. */
export function plainLink(transport: "stream" | "poll"): Link {
  const frames = new FrameQueue<never>();
  return {
    welcome: create(WelcomeSchema),
    transport,
    improveAfterMs: undefined,
    frames,
    send: async () => {},
    close: () => frames.end(),
  };
}

/** An outbox in memory whose writes a test can hold. */
export class MemoryOutbox implements ResultOutbox {
  readonly entries = new Map<string, Uint8Array>();
  isHeld = false;
  failure: Error | undefined;
  #held: (() => void)[] = [];

  pending() {
    return Array.from(this.entries, ([resultId, body]) => ({ resultId, body }));
  }

  keep(result: KeptResult, kept: (resultId: string, error?: unknown) => void): void {
    void this.#write(result).then(
      () => kept(result.resultId),
      (error: unknown) => kept(result.resultId, error),
    );
  }

  acknowledge(resultIds: readonly string[]): void {
    for (const resultId of resultIds) this.entries.delete(resultId);
  }

  letGo(): void {
    this.isHeld = false;
    for (const resolve of this.#held.splice(0)) resolve();
  }

  async #write({ resultId, body }: KeptResult): Promise<void> {
    if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
    if (this.failure !== undefined) throw this.failure;
    this.entries.set(resultId, body);
  }
}

/** An engine on a manual clock, scripted links and an outbox in memory; the test is the handlers' side. */
export class EngineBench {
  readonly clock: ManualClock = new ManualClock();
  readonly outbox: MemoryOutbox;
  readonly links: ScriptedLink[] = [];
  readonly said: ToHandlers[] = [];
  readonly port: Port<ToEngine, ToHandlers>;
  readonly closed: Promise<CloseReason>;
  /** What opening a link meets instead of a Welcome. */
  failure: (() => Error) | undefined;
  verdict: Verdict = Verdict.KEEP;
  welcome: Exclude<MessageInitShape<typeof WelcomeSchema>, { readonly $typeName: string }> = {};
  improveAfterMs: number | undefined;
  addresses: (string | undefined)[] = [];
  #offerSequence = 0n;
  #leases = 0;

  constructor(
    identity: Partial<WorkerIdentity> = {},
    outbox: MemoryOutbox = new MemoryOutbox(),
    retention?: Retention,
  ) {
    this.outbox = outbox;
    const [port, enginePort] = inlinePorts<ToEngine, ToHandlers>();
    this.port = port;
    port.listen((messages) => this.said.push(...messages));
    const transport: Transport = {
      open: async (hello, { address }) => {
        this.addresses.push(address);
        if (this.failure !== undefined) throw this.failure();
        const link = new ScriptedLink(
          hello,
          create(WelcomeSchema, this.#welcome(hello)),
          this.improveAfterMs,
        );
        this.links.push(link);
        this.#offerSequence = 0n;
        return link;
      },
    };
    const engine = new LinkEngine({
      identity: { ...plainIdentity, ...identity },
      transport,
      results: new PendingResults(outbox, "test"),
      retention,
      port: enginePort,
      clock: this.clock,
      random: () => 0.2,
    });
    // Later in this turn, so that a test can say first what the first link meets.
    this.closed = Promise.resolve().then(() => engine.run());
  }

  /** An engine whose first link stands. */
  static async attached(
    identity: Partial<WorkerIdentity> = {},
    outbox?: MemoryOutbox,
    retention?: Retention,
  ): Promise<EngineBench> {
    const bench = new EngineBench(identity, outbox, retention);
    await settled();
    return bench;
  }

  /** The newest link. */
  get link(): ScriptedLink {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error("no link stands");
    return link;
  }

  /** Offers a lease on the newest link; answers with its id. */
  async offer(init: LeaseInit = {}): Promise<{ jobId: string; attempt: number; leaseId: string }> {
    const n = ++this.#leases;
    const lease = { jobId: `job_${n}`, attempt: 1, leaseId: `lse_${n}` };
    this.#offerSequence += 1n;
    const value = { sequence: this.#offerSequence, leases: [{ kind: "noop", points: 1, ...init, lease }] };
    this.link.push({ case: "offer", value });
    await settled();
    return lease;
  }

  /** The handler of a lease says how it ended. */
  async settle(
    leaseId: string,
    outcome: Extract<ToEngine, { type: "settled" }>["outcome"] = succeeded,
  ): Promise<void> {
    this.port.post({ type: "settled", leaseId, outcome });
    await settled();
  }

  async post(message: ToEngine): Promise<void> {
    this.port.post(message);
    await settled();
  }

  async push(frame: FrameInit): Promise<void> {
    this.link.push(frame);
    await settled();
  }

  /** What the engine said to the handlers, of one kind. */
  all<T extends ToHandlers["type"]>(type: T): Extract<ToHandlers, { type: T }>[] {
    const isType = (message: ToHandlers): message is Extract<ToHandlers, { type: T }> =>
      message.type === type;
    return this.said.filter(isType);
  }

  #welcome(hello: Hello) {
    return {
      workerId: "wrk_test",
      linkEpoch: BigInt(this.links.length + 1),
      heartbeatInterval: durationFromMs(5000),
      staleAfter: durationFromMs(15_000),
      killGrace: durationFromMs(10_000),
      verdicts: hello.heldLeases.map((lease) => ({ lease, verdict: this.verdict })),
      ...this.welcome,
    };
  }
}

export const succeeded = { kind: "succeeded", result: Buffer.from("null"), prUrl: "" } as const;

const plainIdentity: WorkerIdentity = {
  bootId: "boot",
  hostBootId: "host",
  orphansDead: true,
  endedBoots: [],
  skills: ["gpu"],
  kinds: ["noop"],
  slots: 4,
  points: 8,
  labels: {},
  version: "0.1.0",
  host: "test",
  tellsEnds: true,
  once: undefined,
};
