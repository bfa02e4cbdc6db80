import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** Kinds of frames of HTTP/2. */
export const frameTypes = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** A frame as bytes. */
export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** HEADERS of a POST to a path, without compression. */
export function headersFrame(
  streamId: number,
  path: string,
  options: { readonly isOpen?: boolean } = {},
): Buffer {
  const literal = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([0x00, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  const block = Buffer.concat([
    literal(":method", "POST"),
    literal(":scheme", "http"),
    literal(":path", path),
    literal(":authority", "a"),
    literal("content-type", "application/grpc"),
    literal("te", "trailers"),
  ]);
  return frame(frameTypes.headers, options.isOpen === true ? 0x4 : 0x5, streamId, block);
}

/** A connection of HTTP/2 written by hand. */
export interface RawPeer {
  readonly socket: Socket;
  /** Resolves with the GOAWAY's code and text when the server has closed it; code -1 without a GOAWAY. */
  readonly closed: Promise<{ readonly code: number; readonly text: string }>;
  /** Writes the same bytes until it is closed or `times` are over; resolves with how often. */
  flood(bytes: Buffer | ((turn: number) => Buffer), times: number): Promise<number>;
}

/** Opens one, with the preface and empty SETTINGS sent; `from` is the address that it comes from. */
export async function rawPeer(
  port: number,
  { from = "127.0.0.1" }: { readonly from?: string } = {},
): Promise<RawPeer> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(frameTypes.settings, 0, 0, Buffer.alloc(0)));
  let received = Buffer.alloc(0);
  let goaway = { code: -1, text: "" };
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 9) {
      const length = received.readUIntBE(0, 3);
      if (received.length < 9 + length) return;
      const payload = received.subarray(9, 9 + length);
      if (received[3] === frameTypes.goaway && goaway.text === "") {
        goaway = { code: payload.readUInt32BE(4), text: payload.toString("latin1", 8) };
      }
      received = received.subarray(9 + length);
    }
  });
  const closed = new Promise<typeof goaway>((resolve) => socket.once("close", () => resolve(goaway)));
  return {
    socket,
    closed,
    async flood(bytes, times) {
      let turn = 0;
      for (; turn < times && !socket.destroyed; turn++) {
        const isFree = socket.write(typeof bytes === "function" ? bytes(turn) : bytes);
        if (isFree) continue;
        const drained = new Promise<void>((resolve) => socket.once("drain", resolve));
        await Promise.race([drained, closed]);
      }
      return turn;
    },
  };
}
