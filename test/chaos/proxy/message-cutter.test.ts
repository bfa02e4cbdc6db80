import { expect, test } from "vitest";
import { MessageCutter } from "./message-cutter.ts";

// A message is a byte with its length, and so many bytes.
const cutter = (): MessageCutter => new MessageCutter((head) => (head[0] ?? 0) + 1, 100);
const message = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
const texts = ["", "one", "twenty-two characters.", "", "x"];
const stream = Buffer.concat(texts.map(message));

test("messages come whole, whatever the chunks", () => {
  for (let size = 1; size <= stream.length; size++) {
    const one = cutter();
    const messages: Buffer[] = [];
    for (let at = 0; at < stream.length; at += size)
      messages.push(...one.cut(stream.subarray(at, at + size)));
    expect(messages.map((bytes) => bytes.toString("utf8", 1))).toEqual(texts);
  }
});

test("a message above the limit is refused as soon as its length is known", () => {
  expect(() => cutter().cut(Buffer.from([100]))).toThrow("a message of 101 bytes is above 100");
});
