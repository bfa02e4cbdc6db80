type Numbers = Uint8Array | Uint32Array | Float64Array;

/** A growing list of numbers in a typed array; what was never set is 0. */
export class Column {
  #numbers: Numbers;
  #length = 0;

  constructor(numbers: Numbers) {
    this.#numbers = numbers;
  }

  get length(): number {
    return this.#length;
  }

  get(index: number): number {
    return this.#numbers[index] ?? 0;
  }

  set(index: number, value: number): void {
    while (index >= this.#numbers.length) this.#grow();
    this.#numbers[index] = value;
    if (index >= this.#length) this.#length = index + 1;
  }

  push(value: number): void {
    this.set(this.#length, value);
  }

  #grow(): void {
    const length = this.#numbers.length * 2;
    const grown = emptyLike(this.#numbers, length);
    grown.set(this.#numbers);
    this.#numbers = grown;
  }
}

const firstLength = 1_024;

/** Numbers from 0 to 255. */
export function bytes(): Column {
  return new Column(new Uint8Array(firstLength));
}

/** Whole numbers from 0 to 2³² − 1. */
export function counts(): Column {
  return new Column(new Uint32Array(firstLength));
}

/** Times in milliseconds; NaN where there is none. */
export function times(): Column {
  return new Column(new Float64Array(firstLength));
}

/** The rows of a table by one of its columns: for each value of it, their numbers in order. */
export interface Grouping {
  of(value: number): Uint32Array;
}

/** Groups rows by a column whose values are at most `highest`: two passes, no hashing. */
export function groupBy(column: Column, highest: number): Grouping {
  const ends = new Uint32Array(highest + 2);
  for (let row = 0; row < column.length; row++) increment(ends, column.get(row) + 1);
  for (let value = 1; value < ends.length; value++) ends[value] = at(ends, value) + at(ends, value - 1);
  const next = ends.slice();
  const order = new Uint32Array(column.length);
  for (let row = 0; row < column.length; row++) {
    const value = column.get(row);
    order[at(next, value)] = row;
    increment(next, value);
  }
  return { of: (value) => order.subarray(at(ends, value), at(ends, value + 1)) };
}

/** The numbers of the rows that have a time in a column, in its order. */
export function sortByTime(column: Column): Uint32Array {
  const rows = Uint32Array.from({ length: column.length }, (_, row) => row);
  const timed = rows.filter((row) => !Number.isNaN(column.get(row)));
  return timed.sort((a, b) => column.get(a) - column.get(b));
}

function at(numbers: Uint32Array, index: number): number {
  return numbers[index] ?? 0;
}

function increment(numbers: Uint32Array, index: number): void {
  numbers[index] = at(numbers, index) + 1;
}

function emptyLike(numbers: Numbers, length: number): Numbers {
  if (numbers instanceof Uint8Array) return new Uint8Array(length);
  if (numbers instanceof Uint32Array) return new Uint32Array(length);
  return new Float64Array(length);
}
