import { widthOf } from "../../tui/output/width.ts";

/** What is drawn: the text of a terminal with the escapes of its colours, a line each. */
export interface Drawing {
  readonly text: string;
  readonly columns: number;
  readonly rows: number;
  /** For who cannot see it. */
  readonly title: string;
}

/**
 * A picture of a terminal in its 16 colours, as a whole SVG file. What stands in a cell stays in its column, whatever
 * the font: each run of one look is placed, and stretched to its cells. Escapes other than those of looks are dropped.
 */
export function drawTerminal({ text, columns, rows, title }: Drawing): string {
  const lines = text.split("\n").slice(0, rows);
  const drawn = readLooks(lines).flatMap((runs, row) => drawLine(runs, row));
  const width = columns * cell.width + 2 * margin;
  const height = rows * cell.height + 2 * margin;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size(width)} ${size(height)}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="100%" height="100%" rx="6" fill="${background}"/>`,
    `<g font-family="ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="${foreground}">`,
    ...drawn,
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

const cell = { width: 8.4, height: 18 };
const margin = 12;
/** From the top of a cell to the line that its text stands on. */
const ascent = 14;
const background = "#0d1117";
const foreground = "#d0d7de";

/** The colours of a terminal: eight, and the same eight bright. */
const palette = [
  ["#484f58", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#d0d7de"],
  ["#6e7681", "#ffa198", "#aff5b4", "#f8e3a1", "#a5d6ff", "#e2c5ff", "#b3f0ff", "#ffffff"],
] as const;

/** How text looks. A colour that is absent is that of the terminal. */
interface Look {
  readonly fill?: string | undefined;
  readonly ground?: string | undefined;
  readonly isBold?: boolean;
  readonly isDim?: boolean;
  readonly isReversed?: boolean;
}

/** Text of one look, and the cell that it begins in. */
interface Run {
  readonly text: string;
  readonly column: number;
  readonly cells: number;
  readonly look: Look;
}

// A look goes on from line to line until it is changed.
function readLooks(lines: readonly string[]): Run[][] {
  let look: Look = {};
  return lines.map((line) => {
    const runs: Run[] = [];
    let column = 0;
    for (const [, codes, other, piece] of line.matchAll(pieces)) {
      if (codes !== undefined) look = changeLook(look, codes);
      if (other !== undefined || piece === undefined) continue;
      const cells = widthOf(piece);
      runs.push({ text: piece, column, cells, look });
      column += cells;
    }
    return runs;
  });
}

// The codes of a look; any other escape or control character; plain text.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const pieces = /\x1b\[([\d;:]*)m|(\x1b\[[\d;?]*[ -/]*[@-~]|\x1b[()].|[\x00-\x1f\x7f])|([^\x00-\x1f\x7f]+)/g;

function changeLook(before: Look, text: string): Look {
  const codes = text.split(/[;:]/).map(Number);
  let look = before;
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at] ?? 0;
    if (code === 38 || code === 48) {
      const [colour, taken] = extendedColour(codes.slice(at + 1));
      look = code === 38 ? { ...look, fill: colour } : { ...look, ground: colour };
      at += taken;
    } else look = changeOne(look, code);
  }
  return look;
}

function changeOne(look: Look, code: number): Look {
  if (code === 0) return {};
  if (code === 1) return { ...look, isBold: true };
  if (code === 2) return { ...look, isDim: true };
  if (code === 7) return { ...look, isReversed: true };
  if (code === 22) return { ...look, isBold: false, isDim: false };
  if (code === 27) return { ...look, isReversed: false };
  if (code === 39) return { ...look, fill: undefined };
  if (code === 49) return { ...look, ground: undefined };
  const [tens, ones] = [Math.floor(code / 10), code % 10];
  if (tens === 3 || tens === 9) return { ...look, fill: palette[tens === 3 ? 0 : 1][ones] };
  if (tens === 4 || tens === 10) return { ...look, ground: palette[tens === 4 ? 0 : 1][ones] };
  return look;
}

// A colour by number or by its parts, and how many codes say so. Numbers above 15 are none of the 16.
function extendedColour(codes: readonly number[]): [colour: string | undefined, taken: number] {
  const [kind, first = 0, ...rest] = codes;
  if (kind === 5) return [palette[first < 8 ? 0 : 1][first < 16 ? first % 8 : 8], 2];
  if (kind !== 2) return [undefined, 1];
  const parts = [first, ...rest].slice(0, 3).map((part) => part.toString(16).padStart(2, "0"));
  return [`#${parts.join("")}`, 4];
}

function drawLine(runs: readonly Run[], row: number): string[] {
  const top = margin + row * cell.height;
  const grounds = runs.flatMap(({ column, cells, look }) => {
    const { ground } = inkOf(look);
    if (ground === undefined) return [];
    const place = `x="${size(left(column))}" y="${top}" width="${size(cells * cell.width)}"`;
    return [`<rect ${place} height="${cell.height}" fill="${ground}"/>`];
  });
  const spans = runs.flatMap(drawRun);
  if (spans.length === 0) return grounds;
  return [...grounds, `<text xml:space="preserve" y="${top + ascent}">${spans.join("")}</text>`];
}

// Blanks at the edges of a run are not drawn.
function drawRun({ text, column, look }: Run): string[] {
  const shown = text.trim();
  if (shown === "") return [];
  const start = column + widthOf(text.slice(0, text.indexOf(shown)));
  const { fill } = inkOf(look);
  const attributes = [
    `x="${size(left(start))}"`,
    `textLength="${size(widthOf(shown) * cell.width)}" lengthAdjust="spacingAndGlyphs"`,
    ...(fill === undefined ? [] : [`fill="${fill}"`]),
    ...(look.isBold === true ? ['font-weight="bold"'] : []),
    ...(look.isDim === true ? ['fill-opacity="0.6"'] : []),
  ];
  return [`<tspan ${attributes.join(" ")}>${escapeXml(shown)}</tspan>`];
}

function inkOf({ fill, ground, isReversed }: Look): Pick<Look, "fill" | "ground"> {
  return isReversed === true ? { fill: ground ?? background, ground: fill ?? foreground } : { fill, ground };
}

const left = (column: number): number => margin + column * cell.width;

const size = (value: number): string => String(Math.round(value * 10) / 10);

// Characters that XML cannot hold at all were dropped with the other controls, save these.
function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
