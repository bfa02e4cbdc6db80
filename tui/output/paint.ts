/** How a piece of text is set off. What it means is said in words too, never by colour alone. */
export type Style =
  | "plain"
  | "bold"
  | "dim"
  | "green"
  | "bold-green"
  | "dim-green"
  | "cyan"
  | "blue"
  | "yellow"
  | "bold-yellow"
  | "red"
  | "magenta"
  | "alarm"
  | "selected";

/** Sets text off for the output at hand. The text must be sanitized already. */
export type Paint = (style: Style, text: string) => string;

/** What a terminal can show: 16 colours; bold, dim and reverse only; nothing at all. */
export type PaintLevel = "colour" | "mono" | "none";

/** The paint of a level. */
export function paintFor(level: PaintLevel): Paint {
  switch (level) {
    case "none":
      return (_style, text) => text;
    case "mono":
      return (style, text) => wrap(monoCodes[style], text);
    case "colour":
      return (style, text) => wrap(colourCodes[style], text);
  }
}

/** What the stream can show: nothing when it is not a terminal; `NO_COLOR`, `--no-color` and dumb ones are mono. */
export function paintLevel(options: {
  readonly isTty: boolean;
  readonly noColor: boolean;
  /** Colours wherever it goes. */
  readonly isForced?: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}): PaintLevel {
  const forced = options.env["FORCE_COLOR"];
  const isRefused = options.env["NO_COLOR"] || options.env["MUSTER_NO_COLOR"];
  if (options.isForced === true) return "colour";
  if (options.noColor || isRefused) return options.isTty ? "mono" : "none";
  if (forced !== undefined && forced !== "" && forced !== "0") return "colour";
  if (!options.isTty) return "none";
  return options.env["TERM"] === "dumb" || forced === "0" ? "mono" : "colour";
}

const colourCodes: Readonly<Record<Style, string>> = {
  plain: "",
  bold: "1",
  dim: "2",
  green: "32",
  "bold-green": "1;32",
  "dim-green": "2;32",
  cyan: "36",
  blue: "34",
  yellow: "33",
  "bold-yellow": "1;33",
  red: "31",
  magenta: "35",
  alarm: "7;31",
  selected: "7",
};

const monoCodes: Readonly<Record<Style, string>> = {
  ...colourCodes,
  green: "",
  "bold-green": "1",
  "dim-green": "2",
  cyan: "",
  blue: "",
  yellow: "",
  "bold-yellow": "1",
  red: "1",
  magenta: "1",
  alarm: "7",
};

function wrap(codes: string, text: string): string {
  return codes === "" || text === "" ? text : `\u001b[${codes}m${text}\u001b[0m`;
}
