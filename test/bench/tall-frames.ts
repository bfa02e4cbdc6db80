/** Follows the cursor of a terminal through what a program writes, and counts what scrolls its screen. */
export interface TallFrames {
  add(bytes: string): void;
  /** Frames that went below the last row: what stood at the top is gone, and the screen flickers. */
  count(): number;
}

/**
 * Knows what Ink writes: lines, the moves of an incremental frame, and the marks of a synchronised one. A line that is
 * too wide would wrap: the console truncates them, and a wrap that scrolls is left to the eye.
 */
export function countTallFrames(rows: number): TallFrames {
  let row = 0;
  let tall = 0;
  let isTall = false;
  let left = "";
  const end = (): void => {
    if (isTall) tall += 1;
    isTall = false;
  };
  return {
    add: (bytes) => {
      const text = left + bytes;
      // A sequence may be cut by the end of what came so far.
      // biome-ignore lint/suspicious/noControlCharactersInRegex: sequences of a terminal begin with one
      const cut = /\u001b(\[[0-9;?]*)?$/.exec(text)?.index ?? text.length;
      left = text.slice(cut);
      for (const [found, numbers = "", move] of text.slice(0, cut).matchAll(motion)) {
        const by = Math.max(1, Number.parseInt(numbers, 10) || 1);
        if (found === "\n") {
          if (row === rows - 1) isTall = true;
          row = Math.min(rows - 1, row + 1);
        } else if (found === "\u001b[?2026h" || found === "\u001b[?2026l") end();
        else if (move === "A" || move === "F") row = Math.max(0, row - by);
        else if (move === "B" || move === "E") row = Math.min(rows - 1, row + by);
        else if (move === "H") row = Math.min(rows, by) - 1;
      }
    },
    count: () => tall + (isTall ? 1 : 0),
  };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: sequences of a terminal begin with one
const motion = /\n|\u001b\[([0-9;?]*)([A-Za-z])/g;
