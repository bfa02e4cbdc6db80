import type { Paint, Style } from "../../output/paint.ts";
import { paintFor } from "../../output/paint.ts";

/** Whose colours are used: the terminal's own 16; ours on dark or on light; for the colour-blind; none. */
export type ThemeName = "terminal" | "dark" | "light" | "cb-safe" | "mono";

/** Every theme, for the configuration and the palette. */
export const themeNames: readonly ThemeName[] = ["terminal", "dark", "light", "cb-safe", "mono"];

/** The paint of a theme. `isMono`: the terminal or the user wants no colours, whatever the theme. */
export function themePaint(theme: ThemeName, isMono: boolean): Paint {
  if (isMono || theme === "mono") return paintFor("mono");
  if (theme === "terminal") return paintFor("colour");
  const codes = themeCodes[theme];
  return (style, text) => {
    const code = codes[style];
    return code === "" || text === "" ? text : `\u001b[${code}m${text}\u001b[0m`;
  };
}

function codesOf(colours: {
  readonly green: string;
  readonly cyan: string;
  readonly blue: string;
  readonly yellow: string;
  readonly red: string;
  readonly magenta: string;
}): Readonly<Record<Style, string>> {
  const { green, cyan, blue, yellow, red, magenta } = colours;
  return {
    plain: "",
    bold: "1",
    dim: "2",
    green: rgb(green),
    "bold-green": `1;${rgb(green)}`,
    "dim-green": `2;${rgb(green)}`,
    cyan: rgb(cyan),
    blue: rgb(blue),
    yellow: rgb(yellow),
    "bold-yellow": `1;${rgb(yellow)}`,
    red: rgb(red),
    magenta: rgb(magenta),
    alarm: `7;${rgb(red)}`,
    selected: "7",
  };
}

function rgb(hex: string): string {
  const part = (at: number): number => Number.parseInt(hex.slice(at, at + 2), 16);
  return `38;2;${part(0)};${part(2)};${part(4)}`;
}

const themeCodes: Readonly<Record<Exclude<ThemeName, "terminal" | "mono">, Readonly<Record<Style, string>>>> =
  {
    dark: codesOf({
      green: "8fd694",
      cyan: "7fd1d9",
      blue: "8ab4f8",
      yellow: "f2cc60",
      red: "ff7b72",
      magenta: "d8a4f0",
    }),
    light: codesOf({
      green: "116329",
      cyan: "0b6e75",
      blue: "0a4fb5",
      yellow: "8a5a00",
      red: "b3130b",
      magenta: "7b2fa3",
    }),
    // Okabe and Ito's: told apart by everybody.
    "cb-safe": codesOf({
      green: "009e73",
      cyan: "56b4e9",
      blue: "0072b2",
      yellow: "e69f00",
      red: "d55e00",
      magenta: "cc79a7",
    }),
  };
