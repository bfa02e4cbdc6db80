import { sanitize } from "../output/sanitize.ts";

/** Writes the rows of a screen to the terminal: what has changed, in one piece. */
export interface RowWriter {
  /** Shows these rows, from the top of the screen; `columns` is its width. */
  readonly show: (rows: readonly string[], columns: number) => void;
  /** Writes nothing until the promise settles, because the terminal is somebody else's; then every row anew. */
  readonly away: (during: () => Promise<void>) => Promise<void>;
}

/** Shown by the terminal at once, and cut at its edge: a row that is wider than thought damages no other. */
const begin = "\u001b[?2026h\u001b[?7l";
const end = "\u001b[H\u001b[?7h\u001b[?2026l";
/** Erasing the whole screen at once would put it into the scrollback of some terminals. */
const eraseScreen = "\u001b[H\u001b[J";
const eraseRow = "\u001b[2K";
// biome-ignore lint/suspicious/noControlCharactersInRegex: our own styles
const ownStyle = /(\u001b\[[0-9;]*m)/;

/**
 * Writes to a screen that is ours alone. Ink would take every row apart and put it together again, each time: most of
 * the time and of the garbage of a frame. Rows come whole, as wide as they may be, with their styles closed; should one
 * bring anything else that acts on a terminal, it is made visible.
 */
export function createRowWriter(write: (text: string) => void): RowWriter {
  let wanted: { readonly rows: readonly string[]; readonly columns: number } | undefined;
  /** What is on the screen; undefined while that is not known. */
  let shown: typeof wanted;
  let isAway = false;
  const draw = (): void => {
    if (isAway || wanted === undefined) return;
    const { rows, columns } = wanted;
    const before = shown?.columns === columns && shown.rows.length === rows.length ? shown.rows : undefined;
    shown = wanted;
    const changed = rows.flatMap((row, at) =>
      row === before?.[at] ? [] : [`\u001b[${at + 1};1H${eraseRow}${safeRow(row)}`],
    );
    if (changed.length === 0) return;
    write(begin + (before === undefined ? eraseScreen : "") + changed.join("") + end);
  };
  return {
    show: (rows, columns) => {
      wanted = { rows, columns };
      draw();
    },
    away: async (during) => {
      isAway = true;
      try {
        await during();
      } finally {
        isAway = false;
        shown = undefined;
        draw();
      }
    },
  };
}

function safeRow(row: string): string {
  return row
    .split(ownStyle)
    .map((part, at) => (at % 2 === 1 ? part : sanitize(part)))
    .join("");
}
