import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { ConnectRequestSchema, HelloSchema } from "@muster/client/v1/link";
import { systemClock } from "../../worker/clock.ts";
import { streamTransport } from "../../worker/transport/stream.ts";
import type { Link } from "../../worker/transport/transport.ts";
import { sharedMs } from "./clock.ts";
import { answerCommands, report } from "./commands.ts";
import { Histogram } from "./histogram.ts";

/*
 * Idle workers that are nothing but their links, each on a connection of its own: `attach` says Hello for the next
 * `count`, some at a time; from then on each beats its heart. `rounds` are the times from a heartbeat to its
 * acknowledgement since `clear`.
 */
const { address, keys, flights, heartbeatMs } = JSON.parse(process.argv[2] ?? "{}");
const rounds = new Histogram();
const waiting: string[] = [...keys];
const signal = new AbortController().signal;
let lost = 0;

async function attach(key: string): Promise<void> {
  const options = { address, key, ca: undefined, welcomeTimeoutMs: 30_000, clock: systemClock() };
  const hello = create(HelloSchema, {
    protocol: { major: 1, minor: 0 },
    bootId: randomUUID(),
    hostBootId: randomUUID(),
    orphansDead: true,
    kinds: ["bench.noop"],
    capacity: { slots: 4, points: 4 },
    demand: { slots: 4, points: 4, offerSequence: 0n },
    version: "bench",
  });
  const link = await streamTransport(options).open(hello, { signal, address: undefined });
  void beat(link);
}

async function beat(link: Link): Promise<void> {
  const sent = new Map<bigint, number>();
  let sequence = 0n;
  let isOpen = true;
  void (async () => {
    // Not all in one moment.
    await sleep(Math.random() * heartbeatMs);
    while (isOpen) {
      sent.set(++sequence, sharedMs());
      const value = { sequence, demand: { slots: 4, points: 4, offerSequence: 0n } };
      void link.send(create(ConnectRequestSchema, { frame: { case: "heartbeat", value } }));
      await sleep(heartbeatMs);
    }
  })();
  try {
    for await (const { frame } of link.frames) {
      if (frame.case !== "heartbeatAck") continue;
      const at = sent.get(frame.value.sequence);
      if (at !== undefined) rounds.add(sharedMs() - at);
      sent.delete(frame.value.sequence);
    }
  } catch {
    // Counted below.
  }
  isOpen = false;
  lost++;
}

answerCommands({
  attach: async ({ count }) => {
    const left = waiting.splice(0, Number(count));
    const startedMs = sharedMs();
    await Promise.all(
      Array.from({ length: flights }, async () => {
        for (let key = left.pop(); key !== undefined; key = left.pop()) await attach(key);
      }),
    );
    return { ms: sharedMs() - startedMs };
  },
  clear: () => {
    rounds.clear();
    return undefined;
  },
  rounds: () => ({ entries: rounds.entries(), lost }),
});
report({ ready: true });
process.on("SIGTERM", () => process.exit(0));
