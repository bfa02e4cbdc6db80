import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type ServerHttp2Session,
} from "node:http2";
import { type Clock, systemClock } from "../../../worker/clock.ts";
import { type Random, seededRandom } from "../random.ts";
import {
  Counts,
  type FaultProxy,
  listenOnLoopback,
  type ProxiedConnection,
  parseTarget,
} from "./fault-proxy.ts";
import { StreamRelay } from "./frame-relay.ts";
import { Carried, type FrameRule, RuleAtWork } from "./frame-rules.ts";

/** Harm at the level of frames and of HTTP/2. */
export type FrameFault =
  | FrameRule
  | {
      /** GOAWAY to the clients, NO_ERROR unless told otherwise, at once. Streams that are open go on. */
      readonly kind: "goaway";
      readonly code?: number;
      /** Only connections without a stream (`idle`), or only those with one (`busy`). */
      readonly which?: "idle" | "busy";
    }
  | {
      /** RST_STREAM on both sides of all open links, CANCEL unless told otherwise, at once. */
      readonly kind: "reset-streams";
      readonly code?: number;
    }
  | { /** Both sides of all connections are cut, at once. */ readonly kind: "cut" };

/** What a proxy of worker links needs. */
export interface FrameProxyOptions {
  /** `host:port` of a worker listener. */
  readonly target: string;
  readonly random?: Random;
  /** What delays are measured by. Default: the process's. */
  readonly clock?: Clock;
}

/**
 * Starts a proxy in front of a worker listener: HTTP/2 without TLS in and out, a connection behind for each in front.
 * `WorkerService/Connect` is looked into; other calls, of whatever service, pass as they are. How fast each side
 * reads is felt by the other, through the windows of HTTP/2.
 */
export async function startFrameProxy(options: FrameProxyOptions): Promise<FaultProxy<FrameFault>> {
  const { random = seededRandom(0), clock = systemClock() } = options;
  let target = parseTarget(options.target);
  let opened = 0;
  let ruled = 0;
  const pairs = new Set<Pair>();
  const rules = new Set<RuleAtWork>();
  const carried = new Carried();
  const counts = new Counts();
  const server = createServer();
  server.on("session", (front) => {
    opened += 1;
    const { host, port } = target;
    const behind = connect(`http://${host.includes(":") ? `[${host}]` : host}:${port}`);
    const pair: Pair = { id: opened, front, behind, relays: new Set() };
    pairs.add(pair);
    // What one side does, the other is told; what went wrong is seen at the close.
    for (const session of [front, behind]) session.on("error", () => {});
    behind.once("close", () => front.destroy());
    front.once("close", () => {
      behind.destroy();
      pairs.delete(pair);
    });
    behind.on("goaway", (code) => {
      if (!front.destroyed) front.goaway(code);
    });
    front.on("stream", (stream, headers) => {
      if (behind.destroyed || behind.closed) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      const relay = new StreamRelay({ stream, headers, behind, rules, carried, counts, clock });
      pair.relays.add(relay);
      stream.once("close", () => pair.relays.delete(relay));
    });
  });
  const { address, port } = await listenOnLoopback(server);
  return {
    address,
    port,
    setTarget(next) {
      target = parseTarget(next);
    },
    fault(plan) {
      switch (plan.kind) {
        case "frames": {
          ruled += 1;
          const rule = new RuleAtWork(plan, random.fork(`${ruled}`));
          rules.add(rule);
          return () => rules.delete(rule);
        }
        case "goaway":
          for (const { front, relays } of pairs) {
            // Destroyed, but not yet closed: nobody is there to be told.
            if (front.destroyed) continue;
            if (plan.which !== undefined && (plan.which === "idle") !== (relays.size === 0)) continue;
            counts.add("goaway");
            front.goaway(plan.code ?? constants.NGHTTP2_NO_ERROR);
          }
          return () => {};
        case "reset-streams":
          for (const { relays } of pairs) {
            counts.add("reset-streams", relays.size);
            for (const relay of relays) relay.reset(plan.code ?? constants.NGHTTP2_CANCEL);
          }
          return () => {};
        case "cut":
          counts.add("cut", pairs.size);
          for (const { front } of pairs) front.destroy();
          return () => {};
      }
    },
    counts: () => counts.read(),
    connections: () => [...pairs].map(viewOf),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const { front } of pairs) front.destroy();
      await closed;
    },
  };
}

/** A connection in front, and ours behind it. */
interface Pair {
  readonly id: number;
  readonly front: ServerHttp2Session;
  readonly behind: ClientHttp2Session;
  readonly relays: Set<StreamRelay>;
}

function viewOf({ id, relays }: Pair): ProxiedConnection {
  const all = [...relays];
  return {
    id,
    name: all.map(({ link }) => link).find((link) => link !== "") ?? "",
    bytesUp: all.reduce((sum, { bytesUp }) => sum + bytesUp, 0),
    bytesDown: all.reduce((sum, { bytesDown }) => sum + bytesDown, 0),
  };
}
