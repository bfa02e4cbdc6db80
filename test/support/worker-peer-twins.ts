import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type handleUnaryCall, Metadata, type UntypedHandleCall } from "@grpc/grpc-js";
import { encodeStatus } from "@muster/client/errors";
import { ConnectRequestSchema, type ConnectResponse, ConnectResponseSchema } from "@muster/client/v1/link";
import {
  type AnswerRequest,
  type AttachRequest,
  type ChangeLinksRequest,
  type PollRequest,
  type RenewRequest,
  type ReportRequest,
  type SubmitResultsRequest,
  WorkerService,
} from "@muster/client/v1/worker_service";
import type { FrameInit, PeerLink, PeerRefusal, WorkerPeer } from "./worker-peer.ts";

interface PollQueue {
  readonly link: PeerLink;
  readonly frames: ConnectResponse[];
  wake: () => void;
}

/** The unary twins of the stream, for any server: a request in, a response out. Throw a PeerError. */
export function peerCalls(peer: WorkerPeer) {
  const queues = new Map<bigint, PollQueue>();
  const queueOf = (epoch: bigint): PollQueue => {
    const queue = queues.get(epoch);
    if (queue?.link.isOpen !== true) {
      throw new PeerError({ code: 9, message: "The worker has no link.", reason: "LINK_NOT_ATTACHED" });
    }
    return queue;
  };
  const answer = (
    link: PeerLink,
    frame: NonNullable<MessageInitShape<typeof ConnectRequestSchema>["frame"]>,
  ) => peer.take(link, create(ConnectRequestSchema, { frame }))[0]?.value;
  return {
    attach({ hello }: AttachRequest) {
      const { refusal } = peer.behaviour;
      if (refusal !== undefined) throw new PeerError(refusal);
      if (hello === undefined)
        throw new PeerError({ code: 3, message: "no hello", reason: "VALIDATION_FAILED" });
      const frames: ConnectResponse[] = [];
      const send = (frame: FrameInit) => {
        frames.push(create(ConnectResponseSchema, { frame }));
        queue.wake();
      };
      const end = () => {
        link.isOpen = false;
        queue.wake();
      };
      const link = peer.attach(hello, "poll", send, end);
      const queue: PollQueue = { link, frames, wake: () => {} };
      queues.set(link.epoch, queue);
      return { welcome: peer.welcome(link).value };
    },
    async poll({ linkEpoch }: PollRequest, onGone: OnGone) {
      const queue = queueOf(linkEpoch);
      let isGone = false;
      while (queue.frames.length === 0 && queue.link.isOpen && !isGone) {
        await new Promise<void>((resolve) => {
          queue.wake = resolve;
          onGone(() => {
            isGone = true;
            resolve();
          });
        });
      }
      const frames = queue.frames.splice(0);
      if (frames.length === 0) queueOf(linkEpoch);
      return { frames };
    },
    answer: ({ linkEpoch, reply }: AnswerRequest) =>
      wrap(answer(queueOf(linkEpoch).link, { case: "offerReply", value: reply ?? {} })),
    report({ linkEpoch, report, cancelStatuses }: ReportRequest) {
      const { link } = queueOf(linkEpoch);
      for (const status of cancelStatuses) answer(link, { case: "cancelStatus", value: status });
      return report === undefined ? {} : wrap(answer(link, { case: "report", value: report }));
    },
    submitResults: ({ results }: SubmitResultsRequest) =>
      wrap(answer(peer.link, { case: "results", value: results ?? {} })),
    changeLinks: ({ linkEpoch, links }: ChangeLinksRequest) =>
      wrap(answer(queueOf(linkEpoch).link, { case: "linksChanged", value: links ?? {} })),
    renew: ({ linkEpoch, heartbeat }: RenewRequest) =>
      wrap(answer(queueOf(linkEpoch).link, { case: "heartbeat", value: heartbeat ?? {} })),
  };
}

/** An error that the peer answers with. */
export class PeerError extends Error {
  readonly refusal: PeerRefusal;

  constructor(refusal: PeerRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

function wrap(ack: object | undefined): { ack?: object } {
  return ack === undefined ? {} : { ack };
}

type OnGone = (gone: () => void) => void;

/** The twins as grpc-js takes them. */
export function grpcTwins(peer: WorkerPeer): Record<string, UntypedHandleCall> {
  const calls = peerCalls(peer);
  const methods = WorkerService.method;
  return {
    attach: unary(peer, methods.attach, calls.attach),
    poll: unary(peer, methods.poll, calls.poll),
    answer: unary(peer, methods.answer, calls.answer),
    report: unary(peer, methods.report, calls.report),
    submitResults: unary(peer, methods.submitResults, calls.submitResults),
    changeLinks: unary(peer, methods.changeLinks, calls.changeLinks),
    renew: unary(peer, methods.renew, calls.renew),
  };
}

function unary<I extends DescMessage, O extends DescMessage>(
  peer: WorkerPeer,
  method: DescMethodUnary<I, O>,
  serve: (request: MessageShape<I>, onGone: OnGone) => MessageInitShape<O> | Promise<MessageInitShape<O>>,
): UntypedHandleCall {
  const typed: handleUnaryCall<MessageShape<I>, MessageShape<O>> = (call, callback) => {
    const run = async () => {
      const isKeyRight = call.metadata.get("authorization")[0] === `Bearer ${peer.key}`;
      if (peer.behaviour.twins === "unimplemented")
        throw new PeerError({ code: 12, message: "no such method", reason: "" });
      if (!isKeyRight) throw new PeerError(wrongKey);
      return create(method.output, await serve(call.request, (gone) => void call.on("cancelled", gone)));
    };
    run().then(
      (response) => callback(null, response),
      (error: unknown) => callback(statusOf(error)),
    );
  };
  return typed;
}

/** What a wrong key is answered with. */
export const wrongKey: PeerRefusal = { code: 16, message: "The key is not valid.", reason: "KEY_INVALID" };

/** An error as grpc-js sends it, with its details. */
export function statusOf(error: unknown): { code: number; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  if (!(error instanceof PeerError)) return { code: 13, details: String(error), metadata };
  const { code, message, reason } = error.refusal;
  if (reason !== "") {
    const detail = { reason, suggestion: "Do otherwise." };
    metadata.set("grpc-status-details-bin", Buffer.from(encodeStatus(code, message, detail)));
  }
  return { code, details: message, metadata };
}
