/**
 * Gives texts numbers from 1 on, and keeps none of the texts: two 32-bit
 * hashes a text. Two of ten million texts meet with a probability of 1 in
 * 400,000; a run has about one million.
 */
export class IdTable {
  #low = new Uint32Array(1 << 12);
  #high = new Uint32Array(1 << 12);
  #ids = new Uint32Array(1 << 12);
  #size = 0;

  /** How many texts have numbers: the highest number. */
  get size(): number {
    return this.#size;
  }

  /** The number of a text, which is given one if it is new; 0 for null. */
  intern(text: string | null | undefined): number {
    if (text === null || text === undefined) return 0;
    if (this.#size * 2 >= this.#ids.length) this.#grow();
    const [low, high] = hashesOf(text);
    const slot = this.#slotOf(low, high);
    const known = this.#ids[slot] ?? 0;
    if (known !== 0) return known;
    this.#size++;
    this.#put(slot, low, high, this.#size);
    return this.#size;
  }

  /** The number of a text; 0 if it has none. */
  find(text: string | null | undefined): number {
    if (text === null || text === undefined) return 0;
    const [low, high] = hashesOf(text);
    return this.#ids[this.#slotOf(low, high)] ?? 0;
  }

  #slotOf(low: number, high: number): number {
    const mask = this.#ids.length - 1;
    let slot = low & mask;
    while (this.#ids[slot] !== 0 && !(this.#low[slot] === low && this.#high[slot] === high)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #put(slot: number, low: number, high: number, id: number): void {
    this.#low[slot] = low;
    this.#high[slot] = high;
    this.#ids[slot] = id;
  }

  #grow(): void {
    const [lows, highs, ids] = [this.#low, this.#high, this.#ids];
    const length = ids.length * 2;
    this.#low = new Uint32Array(length);
    this.#high = new Uint32Array(length);
    this.#ids = new Uint32Array(length);
    for (const [slot, id] of ids.entries()) {
      const [low, high] = [lows[slot] ?? 0, highs[slot] ?? 0];
      if (id !== 0) this.#put(this.#slotOf(low, high), low, high, id);
    }
  }
}

/** The same for few texts, which are kept. */
export class NameTable {
  readonly #ids = new Map<string, number>();
  readonly #names: string[] = [""];

  get size(): number {
    return this.#ids.size;
  }

  /** The number of a name, which is given one if it is new; 0 for null. */
  intern(name: string | null | undefined): number {
    if (name === null || name === undefined) return 0;
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    this.#names.push(name);
    this.#ids.set(name, this.#names.length - 1);
    return this.#names.length - 1;
  }

  /** The number of a name; 0 if it has none. */
  find(name: string): number {
    return this.#ids.get(name) ?? 0;
  }

  /** The name of a number. */
  nameOf(id: number): string {
    return this.#names[id] ?? "";
  }
}

// Two multiplicative hashes, mixed with each other at the end.
function hashesOf(text: string): readonly [low: number, high: number] {
  let low = 0xdeadbeef;
  let high = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    low = Math.imul(low ^ unit, 2_654_435_761);
    high = Math.imul(high ^ unit, 1_597_334_677);
  }
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909);
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  return [low >>> 0, high >>> 0];
}
