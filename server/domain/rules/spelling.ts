/** The known word that is spelled most like `given`, or undefined when none is near. */
export function nearestWord(given: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let best = Math.max(2, Math.ceil(given.length / 3)) + 1;
  for (const word of known) {
    if (Math.abs(word.length - given.length) >= best || given.length > 100) continue;
    const distance = editDistance(given.toLowerCase(), word.toLowerCase());
    if (distance < best) {
      best = distance;
      nearest = word;
    }
  }
  return nearest;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
