/** How far the programs of an attempt were kept from their machine. The numbers are those of the proto and the store. */
export const Isolation = { none: 1, uid: 2, bwrap: 3 } as const;

export type Isolation = (typeof Isolation)[keyof typeof Isolation];

/** A number of the wire or the store; null for one that is none of them. */
export function readIsolation(value: number | null | undefined): Isolation | null {
  return Object.values(Isolation).find((known) => known === value) ?? null;
}
