/** From who connected to the target (`up`), or back (`down`). */
export type Direction = "up" | "down";

/** Harm at the level of bytes. */
export type TcpFault = TcpScope &
  (
    | /** Bytes arrive later, in their order. */ {
        readonly kind: "delay";
        readonly ms: number;
        /** Up to so much more, drawn for each chunk. */
        readonly jitterMs?: number;
      }
    | { readonly kind: "bandwidth"; readonly bytesPerSecond: number }
    | /** Chunks are cut to at most so many bytes, each written apart. */ {
        readonly kind: "slice";
        readonly bytes: number;
      }
    | /** The end of one side, and its loss, are told to the other so much later. */ {
        readonly kind: "slow-close";
        readonly ms: number;
      }
    | /** Nothing passes, ends neither; all of it goes on at the heal, as after a cut network. */ {
        readonly kind: "hold";
      }
    | /** Bytes are gone. A connection that lost some is reset at the heal: the rest of it would be no stream. */ {
        readonly kind: "swallow";
      }
    | /** One side is reset now, the other is told nothing; it is at the heal. */ {
        readonly kind: "half-open";
        readonly lost: "client" | "target";
      }
    | /** Who connects from now on is reset. */ { readonly kind: "refuse" }
    | /** RST to both sides, now. */ { readonly kind: "reset" }
    | /** FIN to both sides, now. */ { readonly kind: "end" }
  );

/** What a fault applies to. */
export interface TcpScope {
  /** Absent: all, those to come as well. */
  readonly connections?: readonly number[];
  /** Absent: both ways. */
  readonly direction?: Direction;
}

/** What the faults of a moment make of one direction of a connection. */
export interface Effect {
  readonly delayMs: number;
  readonly jitterMs: number;
  /** Infinity: no limit. */
  readonly bytesPerSecond: number;
  /** Infinity: not cut. */
  readonly sliceBytes: number;
  readonly closeDelayMs: number;
  readonly flow: "pass" | "hold" | "swallow";
}

/** No harm. */
export const noEffect: Effect = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  sliceBytes: Number.POSITIVE_INFINITY,
  closeDelayMs: 0,
  flow: "pass",
};

/** Puts faults together: delays add up, of limits the tightest counts, to swallow is more than to hold. */
export function effectOf(faults: Iterable<TcpFault>, connection: number, direction: Direction): Effect {
  let effect = noEffect;
  for (const fault of faults) {
    if (!concerns(fault, connection)) continue;
    if (fault.direction === undefined || fault.direction === direction) effect = withFault(effect, fault);
  }
  return effect;
}

/** The fault applies to this connection. */
export function concerns({ connections }: TcpScope, connection: number): boolean {
  return connections === undefined || connections.includes(connection);
}

function withFault(effect: Effect, fault: TcpFault): Effect {
  switch (fault.kind) {
    case "delay":
      return {
        ...effect,
        delayMs: effect.delayMs + fault.ms,
        jitterMs: effect.jitterMs + (fault.jitterMs ?? 0),
      };
    case "bandwidth":
      return { ...effect, bytesPerSecond: Math.min(effect.bytesPerSecond, fault.bytesPerSecond) };
    case "slice":
      return { ...effect, sliceBytes: Math.min(effect.sliceBytes, fault.bytes) };
    case "slow-close":
      return { ...effect, closeDelayMs: effect.closeDelayMs + fault.ms };
    case "hold":
      return { ...effect, flow: effect.flow === "swallow" ? "swallow" : "hold" };
    case "swallow":
    case "half-open":
      return { ...effect, flow: "swallow" };
    case "refuse":
    case "reset":
    case "end":
      return effect;
  }
}
