import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { createMusterTransport } from "@muster/client/node";
import {
  type ConnectRequest,
  type ConnectResponse,
  ConnectResponseSchema,
  type Demand,
  type Hello,
  type Welcome,
} from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { Clock } from "../clock.ts";
import { defaultApiPort, defaultWorkerPort, parseAddress } from "./address.ts";
import { FrameQueue } from "./frame-queue.ts";
import { type GrpcCredentials, grpcUnary, openChannel, type UnaryCall } from "./grpc.ts";
import type { Link, Transport } from "./transport.ts";

/** How long one Poll waits for a first frame. */
const pollWaitMs = 10_000;
/** How long any other call may take, and a Poll beyond its wait. */
const callTimeoutMs = 10_000;

/** Time that calls under way have when the link is closed. */
const closeGraceMs = 1000;

/** What a polling transport needs. */
export interface PollOptions extends GrpcCredentials {
  /** Host and port: of either listener for gRPC, of the API listener for Connect. */
  readonly address: string;
  /** `grpc`: unary gRPC. `connect`: the Connect protocol over HTTP/1.1, which passes any proxy. */
  readonly protocol: "grpc" | "connect";
  readonly clock: Clock;
}

/** Links over the unary twins: Attach, Poll, Answer, Report, SubmitResults, Renew. */
export function pollTransport(options: PollOptions): Transport {
  return {
    open: async (hello, { signal, address }) => {
      const { call, close } = openCalls(options, address ?? options.address);
      try {
        const { welcome } = await call(
          WorkerService.method.attach,
          { hello },
          { signal, timeoutMs: callTimeoutMs },
        );
        if (welcome === undefined) throw new ConnectError("Attach answered without a Welcome", Code.Internal);
        return new PollLink(call, welcome, hello, options.clock, close);
      } catch (error) {
        close();
        throw error;
      }
    },
  };
}

function openCalls(options: PollOptions, address: string): { call: UnaryCall; close: () => void } {
  if (options.protocol === "grpc") {
    const channel = openChannel(parseAddress(address, defaultWorkerPort), options);
    return { call: grpcUnary(channel, options.key), close: () => channel.close() };
  }
  const transport = createMusterTransport({
    address: parseAddress(address, defaultApiPort).url,
    key: options.key,
    httpVersion: "1.1",
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...(options.certificate === undefined ? {} : { certificate: options.certificate }),
  });
  const call: UnaryCall = async (method, request, { signal, timeoutMs }) => {
    const response = await transport.unary(method, signal, timeoutMs, undefined, request);
    return response.message;
  };
  return { call, close: () => {} };
}

/**
 * A link made of unary calls. One Poll is always under way; every other frame is a call whose answer joins the
 * frames. Any call that fails ends the link: what it carried is sent again on the next one.
 */
class PollLink implements Link {
  readonly welcome: Welcome;
  readonly transport = "poll";
  readonly improveAfterMs = undefined;
  readonly frames: FrameQueue<ConnectResponse> = new FrameQueue<ConnectResponse>();
  readonly #call: UnaryCall;
  readonly #closeCalls: () => void;
  readonly #polling = new AbortController();
  readonly #calls = new AbortController();
  readonly #clock: Clock;
  #underWay = 0;
  #demand: Demand | undefined;

  constructor(call: UnaryCall, welcome: Welcome, hello: Hello, clock: Clock, closeCalls: () => void) {
    this.#call = call;
    this.welcome = welcome;
    this.#clock = clock;
    this.#closeCalls = closeCalls;
    this.#demand = hello.demand;
    void this.#poll();
  }

  async send(request: ConnectRequest): Promise<void> {
    const { frame, demand } = request;
    this.#demand = (frame.case === "heartbeat" ? frame.value.demand : demand) ?? this.#demand;
    if (this.#polling.signal.aborted) return;
    this.#underWay++;
    try {
      const answer = await this.#carry(request);
      if (answer !== undefined) this.frames.push(create(ConnectResponseSchema, { frame: answer }));
    } catch (error) {
      this.#end(error);
    }
    this.#underWay--;
    if (this.#underWay === 0 && this.#polling.signal.aborted) this.#calls.abort();
  }

  close(): void {
    this.#end(undefined);
  }

  async #carry({ frame, demand }: ConnectRequest): Promise<ConnectResponse["frame"] | undefined> {
    const call = this.#call;
    const options = { signal: this.#calls.signal, timeoutMs: callTimeoutMs };
    const { linkEpoch } = this.welcome;
    const methods = WorkerService.method;
    switch (frame.case) {
      case "heartbeat": {
        const { ack } = await call(methods.renew, { linkEpoch, heartbeat: frame.value }, options);
        return ack && { case: "heartbeatAck", value: ack };
      }
      case "offerReply": {
        const { ack } = await call(methods.answer, { linkEpoch, reply: frame.value }, options);
        return ack && { case: "offerAck", value: ack };
      }
      case "report": {
        const { ack } = await call(methods.report, { linkEpoch, report: frame.value }, options);
        return ack && { case: "eventAck", value: ack };
      }
      case "cancelStatus": {
        const { ack } = await call(methods.report, { linkEpoch, cancelStatuses: [frame.value] }, options);
        return ack && { case: "eventAck", value: ack };
      }
      case "results": {
        const after = demand === undefined ? {} : { demand };
        const { ack } = await call(methods.submitResults, { results: frame.value, ...after }, options);
        return ack && { case: "resultAck", value: ack };
      }
      case "linksChanged": {
        const { ack } = await call(methods.changeLinks, { linkEpoch, links: frame.value }, options);
        return ack && { case: "linksAck", value: ack };
      }
      // The Hello was the Attach.
      case "hello":
      case undefined:
        return undefined;
    }
  }

  async #poll(): Promise<void> {
    const { linkEpoch } = this.welcome;
    const options = { signal: this.#polling.signal, timeoutMs: pollWaitMs + callTimeoutMs };
    try {
      while (!this.#polling.signal.aborted) {
        const demand = this.#demand === undefined ? {} : { demand: this.#demand };
        const request = { linkEpoch, wait: durationFromMs(pollWaitMs), ...demand };
        const { frames } = await this.#call(WorkerService.method.poll, request, options);
        for (const frame of frames) this.frames.push(frame);
      }
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error: unknown): void {
    if (this.#polling.signal.aborted) return;
    this.#polling.abort();
    this.frames.end(error);
    // What is on its way may arrive, for a moment.
    const callOff = this.#clock.after(this.#underWay === 0 ? 0 : closeGraceMs, () => this.#calls.abort());
    this.#calls.signal.addEventListener("abort", () => {
      callOff();
      this.#closeCalls();
    });
  }
}
