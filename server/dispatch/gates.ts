import type { Row } from "postgres";
import { gateKeys, type InternedShape } from "../domain/rules/shapes.ts";

/** A gate, as it was read. */
interface Gate {
  /** Leases that it still lets through; infinite: no limit. */
  readonly room: number;
  /** Time until a closed one may let something through by itself, in milliseconds; null: somebody must open it. */
  readonly opensInMs: number | null;
  /** It is closed because its places are taken: each exit may open it. */
  readonly isFull: boolean;
}

/**
 * What a coordinator knows of the gates of an org. A hint: it saves looking
 * at what cannot pass. The claim locks the rows, and refuses when a gate came
 * or went meanwhile.
 */
export class GateBook {
  /** The version of the org's gates; null: not read yet. */
  version: number | null = null;
  #gates = new Map<string, Gate>();

  /** Takes the rows of `peekGates`. */
  read(rows: readonly Row[]): void {
    this.version = rows[0] ? Number(rows[0]["version"]) : 0;
    this.#gates = new Map(
      rows.flatMap((row) => (row["key"] === null ? [] : [[String(row["key"]), gateOf(row)]])),
    );
  }

  /** Takes the rows of `lockGates`; answers with what each lets through. */
  lock(rows: readonly Row[]): Map<string, number> {
    for (const row of rows) this.#gates.set(String(row["key"]), gateOf(row));
    return new Map(rows.map((row) => [String(row["key"]), gateOf(row).room]));
  }

  /** The org may do nothing now: nothing of it is offered. */
  get isHeldBack(): boolean {
    return this.version !== null && this.version < 0;
  }

  /** The gates that a shape must pass, in the order of their keys. */
  keysOf(shape: InternedShape): string[] {
    if (this.#gates.size === 0) return [];
    return gateKeys(shape).filter((key) => this.#gates.has(key));
  }

  /** Nothing of this shape passes, as far as is known. */
  isClosed(shape: InternedShape): boolean {
    return this.keysOf(shape).some((key) => (this.#gates.get(key)?.room ?? 1) < 1);
  }

  /** Leases ended: what was full may have room. */
  someLeft(): void {
    for (const [key, gate] of this.#gates) {
      if (gate.isFull && gate.room < 1) this.#gates.set(key, { ...gate, room: 1, isFull: false });
    }
  }

  /** Places were taken. */
  take(key: string, count: number): void {
    const gate = this.#gates.get(key);
    if (gate) this.#gates.set(key, { ...gate, room: gate.room - count, isFull: true });
  }

  /** How long until a closed gate opens by itself; null: none does. */
  opensInMs(): number | null {
    let least: number | null = null;
    for (const { room, opensInMs } of this.#gates.values()) {
      if (room >= 1 || opensInMs === null) continue;
      if (least === null || opensInMs < least) least = opensInMs;
    }
    return least;
  }
}

function gateOf(row: Row): Gate {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]));
  const [most, tokens, rate, period] = [number("most"), number("tokens"), number("rate"), number("period")];
  const places = most === null ? Number.POSITIVE_INFINITY : most - Number(row["used"]);
  if (row["paused"] === true) return { room: 0, opensInMs: number("resume_in"), isFull: false };
  if (tokens === null || rate === null || period === null) {
    return { room: places, opensInMs: null, isFull: places < 1 };
  }
  const starts = Math.floor(tokens);
  const nextInMs = ((1 - (tokens - starts)) * period) / rate;
  const isFull = places < 1;
  return { room: Math.min(places, starts), opensInMs: isFull ? null : nextInMs, isFull };
}
