import { create } from "@bufbuild/protobuf";
import { type ConnectResponse, ConnectResponseSchema } from "@muster/client/v1/link";
import { beforeEach, describe, expect, test } from "vitest";
import { Mailbox } from "../../server/link/mailbox.ts";

let nowMs: number;
let overflows: number;
let mailbox: Mailbox;

beforeEach(() => {
  nowMs = 0;
  overflows = 0;
  mailbox = new Mailbox(
    () => nowMs,
    () => overflows++,
  );
});

const ack = (sequence: number): ConnectResponse =>
  create(ConnectResponseSchema, { frame: { case: "heartbeatAck", value: { sequence: BigInt(sequence) } } });
const offer = (bytes: number): ConnectResponse => {
  const content = { case: "data" as const, value: new Uint8Array(bytes) };
  return create(ConnectResponseSchema, {
    frame: { case: "offer", value: { leases: [{ payload: { content } }] } },
  });
};
const cases = (frames: readonly ConnectResponse[]) => frames.map(({ frame }) => frame.case);

describe("a mailbox", () => {
  test("hands control out before offers, whatever came first", () => {
    mailbox.send(offer(10));
    mailbox.send(ack(1));
    mailbox.send(offer(10));
    mailbox.send(ack(2));
    expect(cases(mailbox.take())).toEqual(["heartbeatAck", "heartbeatAck", "offer", "offer"]);
  });

  test("says the last word after all offers", async () => {
    mailbox.send(create(ConnectResponseSchema, { frame: { case: "goingAway", value: {} } }));
    mailbox.send(ack(1));
    mailbox.end();
    const frames: ConnectResponse[] = [];
    for await (const frame of mailbox.frames(new AbortController().signal)) frames.push(frame);
    expect(cases(frames)).toEqual(["heartbeatAck", "goingAway"]);
  });

  test("holds 8 MiB of payloads and no more: then it is emptied and cut off, once", () => {
    for (let n = 0; n < 7; n++) mailbox.send(offer(1024 * 1024));
    expect([mailbox.size, overflows]).toEqual([7, 0]);
    mailbox.send(offer(1024 * 1024));
    expect([mailbox.size, overflows]).toEqual([0, 1]);
    for (let n = 0; n < 20; n++) mailbox.send(offer(1024 * 1024));
    expect(overflows).toBe(1);
  });

  test("takes a single frame of any size", () => {
    mailbox.send(offer(9 * 1024 * 1024));
    expect([mailbox.size, overflows]).toEqual([1, 0]);
  });

  test("holds 4,096 frames, however small", () => {
    for (let n = 0; n < 4_096; n++) mailbox.send(ack(n));
    expect(overflows).toBe(0);
    mailbox.send(ack(0));
    expect(overflows).toBe(1);
  });

  test("is cut off when a frame waits for more than 10 s, also when nothing new is said", () => {
    mailbox.send(ack(1));
    nowMs = 10_000;
    mailbox.check();
    expect(overflows).toBe(0);
    nowMs = 10_001;
    mailbox.check();
    expect(overflows).toBe(1);
  });

  test("is not cut off while its worker reads, though it is never empty", async () => {
    const reader = mailbox.frames(new AbortController().signal);
    mailbox.send(ack(0));
    for (let n = 1; n <= 30; n++) {
      mailbox.send(ack(n));
      expect((await reader.next()).value.frame.value).toMatchObject({ sequence: BigInt(n - 1) });
      nowMs += 1_000;
      mailbox.check();
    }
    expect(overflows).toBe(0);
  });
});
