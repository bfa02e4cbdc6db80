import { fromBinary } from "@bufbuild/protobuf";
import { Isolation } from "@muster/client/v1/job";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  type Demand,
  type OfferAnswer,
  type OfferReply,
  type Result,
  type Results,
  type Success,
} from "@muster/client/v1/link";
import type { Payload } from "@muster/client/v1/payload";
import { WireReader } from "@muster/client/wire-reader";

/*
 * Results and answers to offers, read by hand: with the generated codec they are a twentieth of all that a small job
 * costs a coordinator, and as much again in garbage. Whatever is not expected here, a failure, a field of a newer
 * worker or a damaged frame, is left to the generated codec as a whole, so what a frame means is decided in one place.
 */

/** Reads the frames of workers; one for all links. */
export class FrameDecoder {
  readonly #reader = new WireReader();

  /** The frame in these bytes, of which it keeps views. Throws as `fromBinary` does. */
  decode(bytes: Buffer): ConnectRequest {
    return this.#decodeFrequent(bytes) ?? fromBinary(ConnectRequestSchema, bytes);
  }

  #decodeFrequent(bytes: Buffer): ConnectRequest | undefined {
    const reader = this.#reader;
    reader.open(bytes);
    const request: ConnectRequest = { $typeName: "muster.v1.ConnectRequest", frame: { case: undefined } };
    while (reader.isBefore(bytes.length)) {
      const tag = reader.uint32();
      // A message that comes twice is to be merged, which nobody sends.
      const isAgain = tag === tags.request.demand ? request.demand : request.frame.case;
      if (isAgain !== undefined) return undefined;
      if (tag === tags.request.results) {
        request.frame = { case: "results", value: this.#results(reader.length()) };
      } else if (tag === tags.request.offerReply) {
        request.frame = { case: "offerReply", value: this.#offerReply(reader.length()) };
      } else if (tag === tags.request.demand) request.demand = this.#demand(reader.length());
      else return undefined;
    }
    return reader.isWhole ? request : undefined;
  }

  #results(end: number): Results {
    const reader = this.#reader;
    const results: Result[] = [];
    while (reader.isBefore(end)) {
      if (reader.uint32() === tags.results.results) results.push(this.#result(reader.length()));
      else reader.giveUp();
    }
    return { $typeName: "muster.v1.Results", results };
  }

  #result(end: number): Result {
    const reader = this.#reader;
    const result: Result = {
      $typeName: "muster.v1.Result",
      resultId: "",
      outcome: { case: undefined },
      lastSequence: 0n,
      isolation: Isolation.UNSPECIFIED,
    };
    while (reader.isBefore(end)) {
      switch (reader.uint32()) {
        case tags.result.lease:
          if (result.lease !== undefined) reader.giveUp();
          result.lease = this.#ref(reader.length());
          break;
        case tags.result.resultId:
          result.resultId = reader.string("");
          break;
        case tags.result.success:
          if (result.outcome.case !== undefined) reader.giveUp();
          result.outcome = { case: "success", value: this.#success(reader.length()) };
          break;
        case tags.result.lastSequence:
          result.lastSequence = BigInt(reader.uint());
          break;
        // Other outcomes are few.
        default:
          reader.giveUp();
      }
    }
    return result;
  }

  #success(end: number): Success {
    const reader = this.#reader;
    const success: Success = { $typeName: "muster.v1.Success", prUrl: "" };
    while (reader.isBefore(end)) {
      const tag = reader.uint32();
      if (tag === tags.success.prUrl) success.prUrl = reader.string("");
      else if (tag === tags.success.result && success.result === undefined) {
        success.result = this.#payload(reader.length());
      } else reader.giveUp();
    }
    return success;
  }

  #payload(end: number): Payload {
    const reader = this.#reader;
    const payload: Payload = { $typeName: "muster.v1.Payload", content: { case: undefined } };
    while (reader.isBefore(end)) {
      if (reader.uint32() === tags.payload.data) payload.content = { case: "data", value: reader.bytes() };
      else reader.giveUp();
    }
    return payload;
  }

  #offerReply(end: number): OfferReply {
    const reader = this.#reader;
    const answers: OfferAnswer[] = [];
    while (reader.isBefore(end)) {
      if (reader.uint32() === tags.offerReply.answers) answers.push(this.#answer(reader.length()));
      else reader.giveUp();
    }
    return { $typeName: "muster.v1.OfferReply", answers };
  }

  #answer(end: number): OfferAnswer {
    const reader = this.#reader;
    const answer: OfferAnswer = { $typeName: "muster.v1.OfferAnswer", heartbeatSequence: 0n };
    while (reader.isBefore(end)) {
      const tag = reader.uint32();
      if (tag === tags.answer.heartbeatSequence) answer.heartbeatSequence = BigInt(reader.uint());
      else if (tag === tags.answer.lease && answer.lease === undefined) {
        answer.lease = this.#ref(reader.length());
      } else reader.giveUp();
    }
    return answer;
  }

  #ref(end: number): LeaseRef {
    const reader = this.#reader;
    const ref: LeaseRef = { $typeName: "muster.v1.LeaseRef", jobId: "", attempt: 0, leaseId: "" };
    while (reader.isBefore(end)) {
      const tag = reader.uint32();
      if (tag === tags.ref.jobId) ref.jobId = reader.string("");
      else if (tag === tags.ref.leaseId) ref.leaseId = reader.string("");
      else if (tag === tags.ref.attempt) ref.attempt = reader.int32();
      else reader.giveUp();
    }
    return ref;
  }

  #demand(end: number): Demand {
    const reader = this.#reader;
    const demand: Demand = { $typeName: "muster.v1.Demand", slots: 0, points: 0, offerSequence: 0n };
    while (reader.isBefore(end)) {
      const tag = reader.uint32();
      if (tag === tags.demand.slots) demand.slots = reader.int32();
      else if (tag === tags.demand.points) demand.points = reader.int32();
      else if (tag === tags.demand.offerSequence) demand.offerSequence = BigInt(reader.uint());
      else reader.giveUp();
    }
    return demand;
  }
}

const varint = 0;
const delimited = 2;
const tag = (field: number, wireType: number) => (field << 3) | wireType;

// Field numbers of link.proto, job_service.proto and payload.proto; the tests hold them against the generated codec.
const tags = {
  request: { offerReply: tag(4, delimited), results: tag(6, delimited), demand: tag(15, delimited) },
  results: { results: tag(1, delimited) },
  result: {
    lease: tag(1, delimited),
    resultId: tag(2, delimited),
    success: tag(3, delimited),
    lastSequence: tag(8, varint),
  },
  success: { result: tag(1, delimited), prUrl: tag(2, delimited) },
  payload: { data: tag(1, delimited) },
  offerReply: { answers: tag(1, delimited) },
  answer: { lease: tag(1, delimited), heartbeatSequence: tag(2, varint) },
  ref: { jobId: tag(1, delimited), attempt: tag(2, varint), leaseId: tag(3, delimited) },
  demand: { slots: tag(1, varint), points: tag(2, varint), offerSequence: tag(3, varint) },
} as const;
