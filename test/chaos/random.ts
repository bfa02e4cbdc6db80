/**
 * Where every accident of a run comes from, so that a run may be had again by its seed. Who draws alone (a proxy, a
 * client, the killer of workers) takes a `fork` by its name: what the others draw, and when, changes nothing for it.
 */
export interface Random {
  /** At least 0, less than 1. */
  next(): number;
  /** A whole number, both ends included. */
  int(from: number, to: number): number;
  /** True with this probability: never at 0, always at 1. */
  chance(probability: number): boolean;
  /** One of them. Throws when there is none. */
  pick<T>(choices: readonly T[]): T;
  /** Another source, which depends on the seed and the name alone. */
  fork(name: string): Random;
}

/** A source for a seed: mulberry32, whose 2^32 states are plenty for choosing faults, and unfit for secrets. */
export function seededRandom(seed: number | string): Random {
  const origin = typeof seed === "number" ? `${seed}` : seed;
  let state = hash(origin);
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    int: (from, to) => from + Math.floor(next() * (to - from + 1)),
    chance: (probability) => next() < probability,
    pick: <T>(choices: readonly T[]) => {
      const [chosen] = choices.slice(Math.floor(next() * choices.length));
      if (chosen === undefined) throw new RangeError("there is nothing to pick from");
      return chosen;
    },
    fork: (name) => seededRandom(`${origin}/${name}`),
  };
}

// FNV-1a: near seeds lead to states that have nothing in common after the first mixing.
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value | 0;
}
