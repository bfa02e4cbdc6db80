import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import type { EdgeOptions, Turned } from "../../server/rpc/listener.ts";
import { assertRuntime, RuntimeError } from "../../server/runtime.ts";
import { listening } from "../rpc/listening.ts";
import { frame, frameTypes, headersFrame, rawPeer } from "./support/frames.ts";
import { backTo, held } from "./support/memory.ts";
import { otherClient } from "./support/other-client.ts";
import { workerListening } from "./support/worker-listening.ts";

const opened: { stop(options: { graceMs: number }): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

/** Keeps nothing: the lines of a flood would be what takes the memory. */
const silentLog = { debug() {}, info() {}, warn() {}, error() {} };

/** A round may wait for a machine that is busy with other things. */
const longMs = 180_000;

const listeners = {
  "the API port": async (edge: EdgeOptions) => {
    const listener = await listening({ options: { ...edge, log: silentLog } });
    opened.push(listener);
    return listener.port;
  },
  "the worker port": async (edge: EdgeOptions) => {
    const listener = await workerListening({ ...edge, log: silentLog });
    opened.push(listener);
    return listener.port;
  },
};

const path = "/grpc.health.v1.Health/Check";
const cancel = Buffer.from([0, 0, 0, 8]);

/**
 * The other client's calls stay as fast as they were, with a floor for what a busy machine adds to anything; and the
 * memory comes back. A first attack brings in what any needs once.
 */
async function unhurt(port: number, attack: () => Promise<unknown>): Promise<void> {
  const other = otherClient(`http://127.0.0.1:${port}`);
  const before = await other.p99Ms();
  await attack();
  const base = held();
  await attack();
  const after = await other.p99Ms();
  expect(after).toBeLessThan(Math.max(2 * before, 50));
  await backTo(base);
}

test("memory that does not come back would be seen", async () => {
  const { port } = await listening();
  const kept: Buffer[] = [];
  const leak = unhurt(port, async () => kept.push(Buffer.alloc(10 * 1024 * 1024)));
  await expect(leak).rejects.toThrow("memory does not come back");
  expect(kept).toHaveLength(2);
}, 60_000);

describe.each(Object.entries(listeners))("S25 rapid reset ends its connection: %s", (_name, open) => {
  test("100,000 streams that are reset at once", { timeout: longMs }, async () => {
    const port = await open({});
    await unhurt(port, async () => {
      const peer = await rawPeer(port);
      const sent = await peer.flood(
        (turn) =>
          Buffer.concat([
            headersFrame(2 * turn + 1, path, { isOpen: true }),
            frame(frameTypes.rstStream, 0, 2 * turn + 1, cancel),
          ]),
        100_000,
      );
      await peer.closed;
      expect(sent).toBeLessThan(100_000);
    });
  });

  test.each(["reset", "pings", "settings"])(
    "another address is served as before while one floods without end: %s",
    { timeout: longMs },
    async (name) => {
      const why: Turned[] = [];
      const port = await open({ isUncounted: () => false, turnedAway: (one) => why.push(one) });
      const other = otherClient(`http://127.0.0.1:${port}`);
      await other.roundMs();
      const base = held();
      const attacker = fork(attackerFile, [name, `${port}`, "127.0.0.2", "20"], { execArgv: [] });
      try {
        await once(attacker, "message");
        const [quiet, flooded]: [number[], number[]] = [[], []];
        for (let round = 0; round < 3; round++) {
          attacker.kill("SIGCONT");
          flooded.push(await other.roundMs());
          attacker.kill("SIGSTOP");
          quiet.push(await other.roundMs());
        }
        attacker.kill("SIGCONT");
        await expect.poll(() => why, { timeout: longMs }).toContain("shut-out");
        expect(why).toContain(name === "reset" ? "protocol" : name);
        expect(median(flooded)).toBeLessThan(Math.max(2 * median(quiet), 50));
      } finally {
        attacker.kill("SIGKILL");
      }
      await once(attacker, "close");
      await backTo(base);
    },
  );
});

const attackerFile = fileURLToPath(new URL("support/attacker.ts", import.meta.url));

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0;
}

describe.each(Object.entries(listeners))("S26 floods of frames end their connection: %s", (name, open) => {
  test("pings: more than two too many", { timeout: longMs }, async () => {
    const why: Turned[] = [];
    const port = await open({ turnedAway: (one) => why.push(one) });
    await unhurt(port, async () => {
      const peer = await rawPeer(port);
      peer.socket.write(headersFrame(1, path));
      await peer.flood(frame(frameTypes.ping, 0, 0, Buffer.alloc(8)), 100_000);
      const { code, text } = await peer.closed;
      if (name === "the API port") expect([code, text]).toEqual([11, "too_many_pings"]);
      expect(why).toContain("pings");
    });
  });

  test("settings", { timeout: longMs }, async () => {
    const why: Turned[] = [];
    const port = await open({ turnedAway: (one) => why.push(one) });
    await unhurt(port, async () => {
      const peer = await rawPeer(port);
      await peer.flood(frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 255, 255])), 100_000);
      await peer.closed;
      expect(why).toContain("settings");
    });
  });

  test("window updates beyond the window", { timeout: longMs }, async () => {
    const port = await open({});
    await unhurt(port, async () => {
      for (let round = 0; round < 50; round++) {
        const peer = await rawPeer(port);
        await peer.flood(frame(frameTypes.windowUpdate, 0, 0, Buffer.from([0x7f, 255, 255, 255])), 100);
        await peer.closed;
      }
    });
  });

  test("continuations without an end", { timeout: longMs }, async () => {
    const port = await open({});
    await unhurt(port, async () => {
      const peer = await rawPeer(port);
      peer.socket.write(frame(frameTypes.headers, 0x1, 1, Buffer.from([0x82])));
      const sent = await peer.flood(frame(frameTypes.continuation, 0, 1, Buffer.alloc(1_000, 0x82)), 10_000);
      await peer.closed;
      expect(sent).toBeLessThan(10_000);
    });
  });

  test("a client may ping now and then, and often while it is sent something", async () => {
    const why: Turned[] = [];
    const port = await open({ turnedAway: (one) => why.push(one) });
    const peer = await rawPeer(port);
    for (let turn = 0; turn < 300; turn++) {
      const streamId = 2 * turn + 1;
      peer.socket.write(headersFrame(streamId, path, { isOpen: true }));
      peer.socket.write(frame(frameTypes.data, 1, streamId, Buffer.alloc(5)));
      peer.socket.write(frame(frameTypes.ping, 0, 0, Buffer.alloc(8)));
      await once(peer.socket, "data");
    }
    expect(why).toEqual([]);
    expect(peer.socket.destroyed).toBe(false);
    peer.socket.destroy();
  });
});

describe("S26 floods of frames end their connection: Node", () => {
  test.each(["24.14.1", "24.21.0", "22.22.2", "25.8.2", "26.0.0"])("%s is served on", (version) => {
    assertRuntime(version);
  });

  test.each(["20.20.2", "22.12.0", "22.22.1", "23.11.0", "24.14.0", "25.8.1"])("%s is refused", (version) => {
    expect(() => assertRuntime(version)).toThrow(RuntimeError);
  });
});
