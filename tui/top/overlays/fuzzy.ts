/**
 * How well a text matches letters that stand in it in this order: higher is better, undefined when they do not.
 * Letters in a row and at the beginnings of words count more; case does not.
 */
export function fuzzyScore(wanted: string, text: string): number | undefined {
  const letters = [...wanted.toLowerCase().replaceAll(" ", "")];
  const lower = text.toLowerCase();
  let score = 0;
  let from = 0;
  let last = -2;
  for (const letter of letters) {
    const word = wordStart(lower, letter, from);
    const next = lower.indexOf(letter, from);
    if (next < 0) return undefined;
    const at = next === last + 1 || word === undefined ? next : word;
    if (at === last + 1) score += 8;
    else if (at === word) score += 6;
    else score -= Math.min(3, at - from);
    last = at;
    from = at + 1;
  }
  return score - text.length / 100;
}

/** What matches, best first; everything, in its order, when nothing is wanted. */
export function fuzzyFind<Item>(
  wanted: string,
  items: readonly Item[],
  textOf: (item: Item) => string,
): Item[] {
  if (wanted.trim() === "") return [...items];
  return items
    .flatMap((item) => {
      const score = fuzzyScore(wanted, textOf(item));
      return score === undefined ? [] : [{ item, score }];
    })
    .sort((one, other) => other.score - one.score)
    .map(({ item }) => item);
}

function wordStart(text: string, letter: string, from: number): number | undefined {
  for (let at = text.indexOf(letter, from); at >= 0; at = text.indexOf(letter, at + 1)) {
    if (at === 0 || /[^a-z0-9]/.test(text[at - 1] ?? "")) return at;
  }
  return undefined;
}
