import { fromBinary } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  type ConnectResponse,
  ConnectResponseSchema,
  type Offer,
  type OfferedLease,
  type ResultAck,
  type ResultAckItem,
} from "@muster/client/v1/link";
import type { Payload } from "@muster/client/v1/payload";
import { WireReader } from "@muster/client/wire-reader";

/*
 * Offers and acknowledgements of results, read by hand: with the generated codec they are a sixth of all that a
 * small job costs a worker. Whatever is not expected here, a field of a newer coordinator or a damaged frame, is
 * left to the generated codec as a whole, so what a frame means is decided in one place.
 */

/** Reads the frames of one link. What successive offers repeat (kind, queue, durations) is shared between them. */
export class FrameDecoder {
  readonly #reader = new WireReader();
  #kind = "";
  #queue = "";
  #answerWithin: Duration | undefined;
  #timeLeft: Duration | undefined;
  #hardTimeout: Duration | undefined;
  #softTimeout: Duration | undefined;

  /** The frame in these bytes, of which it keeps views. Throws as `fromBinary` does. */
  decode(bytes: Buffer): ConnectResponse {
    return this.#decodeFrequent(bytes) ?? fromBinary(ConnectResponseSchema, bytes);
  }

  #decodeFrequent(bytes: Buffer): ConnectResponse | undefined {
    const reader = this.#reader;
    reader.open(bytes);
    const tag = reader.uint32();
    if (tag !== tags.response.offer && tag !== tags.response.resultAck) return undefined;
    const end = reader.length();
    if (end !== bytes.length) return undefined;
    const frame: ConnectResponse["frame"] =
      tag === tags.response.offer
        ? { case: "offer", value: this.#offer(end) }
        : { case: "resultAck", value: this.#resultAck(end) };
    return reader.isWhole ? { $typeName: "muster.v1.ConnectResponse", frame } : undefined;
  }

  #offer(end: number): Offer {
    const reader = this.#reader;
    const leases: OfferedLease[] = [];
    const offer: Offer = { $typeName: "muster.v1.Offer", sequence: 0n, leases, linkEpoch: 0n };
    while (reader.isBefore(end)) {
      switch (reader.uint32()) {
        case tags.offer.sequence:
          offer.sequence = BigInt(reader.uint());
          break;
        case tags.offer.answerWithin:
          if (offer.answerWithin !== undefined) reader.giveUp();
          offer.answerWithin = this.#answerWithin = reader.duration(this.#answerWithin);
          break;
        case tags.offer.leases:
          leases.push(this.#lease(reader.length()));
          break;
        case tags.offer.linkEpoch:
          offer.linkEpoch = BigInt(reader.uint());
          break;
        default:
          reader.giveUp();
      }
    }
    return offer;
  }

  #lease(end: number): OfferedLease {
    const reader = this.#reader;
    const offered: OfferedLease = {
      $typeName: "muster.v1.OfferedLease",
      kind: "",
      title: "",
      queue: "",
      points: 0,
      failures: 0,
      exclusive: false,
      idempotencyKey: "",
      labels: {},
      skillDocuments: [],
      projectRoot: "",
      sessionId: "",
      project: "",
      jobToken: "",
      requiredSkills: [],
      maxAttempts: 0,
      lastSequence: 0n,
      parentCount: 0,
      parentResults: [],
    };
    let jobId = "";
    while (reader.isBefore(end)) {
      switch (reader.uint32()) {
        // A message that comes twice is to be merged, which nobody sends.
        case tags.lease.lease:
          if (offered.lease !== undefined) reader.giveUp();
          offered.lease = this.#ref(reader.length());
          jobId = offered.lease.jobId;
          break;
        case tags.lease.kind:
          offered.kind = this.#kind = reader.string(this.#kind);
          break;
        case tags.lease.title:
          offered.title = reader.string("");
          break;
        case tags.lease.payload:
          if (offered.payload !== undefined) reader.giveUp();
          offered.payload = this.#payload(reader.length());
          break;
        case tags.lease.queue:
          offered.queue = this.#queue = reader.string(this.#queue);
          break;
        case tags.lease.points:
          offered.points = reader.int32();
          break;
        case tags.lease.failures:
          offered.failures = reader.int32();
          break;
        case tags.lease.softTimeout:
          if (offered.softTimeout !== undefined) reader.giveUp();
          offered.softTimeout = this.#softTimeout = reader.duration(this.#softTimeout);
          break;
        case tags.lease.hardTimeout:
          if (offered.hardTimeout !== undefined) reader.giveUp();
          offered.hardTimeout = this.#hardTimeout = reader.duration(this.#hardTimeout);
          break;
        case tags.lease.timeLeft:
          if (offered.timeLeft !== undefined) reader.giveUp();
          offered.timeLeft = this.#timeLeft = reader.duration(this.#timeLeft);
          break;
        case tags.lease.exclusive:
          offered.exclusive = reader.int32() !== 0;
          break;
        case tags.lease.idempotencyKey:
          offered.idempotencyKey = reader.string(jobId);
          break;
        case tags.lease.labels:
          this.#label(offered.labels, reader.length());
          break;
        case tags.lease.projectRoot:
          offered.projectRoot = reader.string("");
          break;
        case tags.lease.project:
          offered.project = reader.string("");
          break;
        case tags.lease.jobToken:
          offered.jobToken = reader.string("");
          break;
        case tags.lease.requiredSkills:
          offered.requiredSkills.push(reader.string(""));
          break;
        case tags.lease.maxAttempts:
          offered.maxAttempts = reader.int32();
          break;
        case tags.lease.lastSequence:
          offered.lastSequence = BigInt(reader.uint());
          break;
        // Documents, sessions and parents come with few jobs, and those are not small.
        default:
          reader.giveUp();
      }
    }
    return offered;
  }

  #ref(end: number): LeaseRef {
    const reader = this.#reader;
    const ref: LeaseRef = { $typeName: "muster.v1.LeaseRef", jobId: "", attempt: 0, leaseId: "" };
    while (reader.isBefore(end)) {
      switch (reader.uint32()) {
        case tags.ref.jobId:
          ref.jobId = reader.string("");
          break;
        case tags.ref.attempt:
          ref.attempt = reader.int32();
          break;
        case tags.ref.leaseId:
          ref.leaseId = reader.string("");
          break;
        default:
          reader.giveUp();
      }
    }
    return ref;
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

  #label(labels: Record<string, string>, end: number): void {
    const reader = this.#reader;
    let [key, value] = ["", ""];
    while (reader.isBefore(end)) {
      const tag = reader.uint32();
      if (tag === tags.entry.key) key = reader.string("");
      else if (tag === tags.entry.value) value = reader.string("");
      else reader.giveUp();
    }
    if (key === "__proto__") reader.giveUp();
    else labels[key] = value;
  }

  #resultAck(end: number): ResultAck {
    const reader = this.#reader;
    const items: ResultAckItem[] = [];
    while (reader.isBefore(end)) {
      if (reader.uint32() === tags.ack.items) items.push(this.#ackItem(reader.length()));
      else reader.giveUp();
    }
    return { $typeName: "muster.v1.ResultAck", items };
  }

  #ackItem(end: number): ResultAckItem {
    const reader = this.#reader;
    const item: ResultAckItem = {
      $typeName: "muster.v1.ResultAckItem",
      resultId: "",
      status: 0,
      detail: "",
      currentAttempt: 0,
    };
    while (reader.isBefore(end)) {
      switch (reader.uint32()) {
        case tags.ackItem.resultId:
          item.resultId = reader.string("");
          break;
        case tags.ackItem.status:
          item.status = reader.int32();
          break;
        case tags.ackItem.detail:
          item.detail = reader.string("");
          break;
        case tags.ackItem.currentAttempt:
          item.currentAttempt = reader.int32();
          break;
        default:
          reader.giveUp();
      }
    }
    return item;
  }
}

const varint = 0;
const delimited = 2;
const tag = (field: number, wireType: number) => (field << 3) | wireType;

// Field numbers of link.proto, job_service.proto and payload.proto; the tests hold them against the generated codec.
const tags = {
  response: { offer: tag(3, delimited), resultAck: tag(8, delimited) },
  offer: {
    sequence: tag(1, varint),
    answerWithin: tag(2, delimited),
    leases: tag(3, delimited),
    linkEpoch: tag(4, varint),
  },
  lease: {
    lease: tag(1, delimited),
    kind: tag(2, delimited),
    title: tag(3, delimited),
    payload: tag(4, delimited),
    queue: tag(5, delimited),
    points: tag(6, varint),
    failures: tag(7, varint),
    softTimeout: tag(8, delimited),
    hardTimeout: tag(9, delimited),
    timeLeft: tag(10, delimited),
    exclusive: tag(11, varint),
    idempotencyKey: tag(12, delimited),
    labels: tag(13, delimited),
    projectRoot: tag(15, delimited),
    project: tag(17, delimited),
    jobToken: tag(18, delimited),
    requiredSkills: tag(19, delimited),
    maxAttempts: tag(20, varint),
    lastSequence: tag(21, varint),
  },
  ref: { jobId: tag(1, delimited), attempt: tag(2, varint), leaseId: tag(3, delimited) },
  payload: { data: tag(1, delimited) },
  entry: { key: tag(1, delimited), value: tag(2, delimited) },
  ack: { items: tag(1, delimited) },
  ackItem: {
    resultId: tag(1, delimited),
    status: tag(2, varint),
    detail: tag(3, delimited),
    currentAttempt: tag(4, varint),
  },
} as const;
