/**
 * The words of a command line as a shell reads them, without the program's name; the last one is being typed, and is
 * empty after a blank. Knows quotes and backslashes; a quote that is still open ends with the line.
 */
export function wordsOfLine(line: string): string[] {
  const words: string[] = [];
  let word = "";
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote !== "") {
      if (character === quote) quote = "";
      else word += character;
    } else if (character === "'" || character === '"') {
      quote = character;
    } else if (character === "\\" && at + 1 < line.length) {
      at += 1;
      word += line[at] ?? "";
    } else if (/\s/.test(character)) {
      if (word !== "") words.push(word);
      word = "";
    } else word += character;
  }
  words.push(word);
  return words.slice(1);
}
