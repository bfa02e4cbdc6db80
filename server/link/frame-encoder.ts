import { toBinary } from "@bufbuild/protobuf";
import {
  type ConnectResponse,
  ConnectResponseSchema,
  type Offer,
  type OfferedLease,
  type ResultAck,
} from "@muster/client/v1/link";
import { WireWriter } from "./wire-writer.ts";

/*
 * Offers and acknowledgements of results, written by hand: with the generated codec they are a tenth of all that a
 * small job costs a coordinator. What is not expected here, a session or what parents left, is left to the generated
 * codec as a whole.
 */

/** Writes the frames of workers; one for all links. */
export class FrameEncoder {
  readonly #writer = new WireWriter();

  /** The bytes of a frame. */
  encode(response: ConnectResponse): Buffer {
    const bytes = this.#encodeFrequent(response);
    if (bytes !== undefined) return bytes;
    const { buffer, byteOffset, byteLength } = toBinary(ConnectResponseSchema, response);
    return Buffer.from(buffer, byteOffset, byteLength);
  }

  #encodeFrequent({ frame, $unknown }: ConnectResponse): Buffer | undefined {
    if ((frame.case !== "offer" && frame.case !== "resultAck") || $unknown !== undefined) return undefined;
    const writer = this.#writer;
    writer.open();
    if (frame.case === "offer") this.#offer(frame.value);
    else this.#resultAck(frame.value);
    return writer.isWhole ? writer.finish() : undefined;
  }

  #offer({ sequence, answerWithin, leases, linkEpoch, $unknown }: Offer): void {
    const writer = this.#writer;
    if ($unknown !== undefined) writer.giveUp();
    const start = writer.begin(tags.response.offer);
    writer.number(tags.offer.sequence, Number(sequence));
    writer.duration(tags.offer.answerWithin, answerWithin);
    for (const lease of leases) {
      this.#lease(lease);
      if (!writer.isWhole) return;
    }
    writer.number(tags.offer.linkEpoch, Number(linkEpoch));
    writer.end(start);
  }

  #lease(offered: OfferedLease): void {
    const writer = this.#writer;
    const { lease, payload } = offered;
    const isRare =
      offered.session !== undefined || offered.skillDocuments.length > 0 || offered.parentResults.length > 0;
    if (isRare || lease === undefined || payload?.content.case !== "data") return writer.giveUp();
    if ((offered.$unknown ?? lease.$unknown ?? payload.$unknown) !== undefined) return writer.giveUp();
    const start = writer.begin(tags.offer.leases);
    const ref = writer.begin(tags.lease.lease);
    writer.string(tags.ref.jobId, lease.jobId);
    writer.number(tags.ref.attempt, lease.attempt);
    writer.string(tags.ref.leaseId, lease.leaseId);
    writer.end(ref);
    writer.string(tags.lease.kind, offered.kind);
    writer.string(tags.lease.title, offered.title);
    const content = writer.begin(tags.lease.payload);
    writer.bytes(tags.payload.data, payload.content.value);
    writer.end(content);
    writer.string(tags.lease.queue, offered.queue);
    writer.number(tags.lease.points, offered.points);
    writer.number(tags.lease.failures, offered.failures);
    writer.duration(tags.lease.softTimeout, offered.softTimeout);
    writer.duration(tags.lease.hardTimeout, offered.hardTimeout);
    writer.duration(tags.lease.timeLeft, offered.timeLeft);
    writer.number(tags.lease.exclusive, offered.exclusive ? 1 : 0);
    writer.string(tags.lease.idempotencyKey, offered.idempotencyKey);
    for (const key of Object.keys(offered.labels)) {
      const entry = writer.begin(tags.lease.labels);
      writer.stringAlways(tags.entry.key, key);
      writer.stringAlways(tags.entry.value, offered.labels[key] ?? "");
      writer.end(entry);
    }
    writer.string(tags.lease.projectRoot, offered.projectRoot);
    writer.string(tags.lease.sessionId, offered.sessionId);
    writer.string(tags.lease.project, offered.project);
    writer.string(tags.lease.jobToken, offered.jobToken);
    for (const skill of offered.requiredSkills) writer.stringAlways(tags.lease.requiredSkills, skill);
    writer.number(tags.lease.maxAttempts, offered.maxAttempts);
    writer.number(tags.lease.lastSequence, Number(offered.lastSequence));
    writer.number(tags.lease.parentCount, offered.parentCount);
    writer.end(start);
  }

  #resultAck({ items, $unknown }: ResultAck): void {
    const writer = this.#writer;
    if ($unknown !== undefined) writer.giveUp();
    const start = writer.begin(tags.response.resultAck);
    for (const item of items) {
      if (item.$unknown !== undefined) writer.giveUp();
      const ack = writer.begin(tags.ack.items);
      writer.string(tags.ackItem.resultId, item.resultId);
      writer.number(tags.ackItem.status, item.status);
      writer.string(tags.ackItem.detail, item.detail);
      writer.number(tags.ackItem.currentAttempt, item.currentAttempt);
      writer.end(ack);
    }
    writer.end(start);
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
    sessionId: tag(16, delimited),
    project: tag(17, delimited),
    jobToken: tag(18, delimited),
    requiredSkills: tag(19, delimited),
    maxAttempts: tag(20, varint),
    lastSequence: tag(21, varint),
    parentCount: tag(23, varint),
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
