/** One key, by a name that tables and the configuration use: `j`, `G`, `ctrl-d`, `enter`, `shift-tab`. */
export interface KeyPress {
  readonly name: string;
  /** What it types; empty for keys that type nothing. */
  readonly text: string;
}

/** What Ink tells of a key. */
export interface InkKey {
  readonly upArrow: boolean;
  readonly downArrow: boolean;
  readonly leftArrow: boolean;
  readonly rightArrow: boolean;
  readonly pageDown: boolean;
  readonly pageUp: boolean;
  readonly home: boolean;
  readonly end: boolean;
  readonly return: boolean;
  readonly escape: boolean;
  readonly ctrl: boolean;
  readonly shift: boolean;
  readonly tab: boolean;
  readonly backspace: boolean;
  readonly delete: boolean;
  readonly meta: boolean;
  readonly eventType?: "press" | "repeat" | "release";
}

/** The presses behind one event of Ink: several characters that came at once are a press each. */
export function keyPresses(input: string, key: InkKey): KeyPress[] {
  if (key.eventType === "release") return [];
  const special = specialName(key);
  if (special !== undefined) return [{ name: prefixed(special, key), text: "" }];
  if (key.ctrl) return input === "" ? [] : [{ name: `ctrl-${nameOf(input.toLowerCase())}`, text: "" }];
  if (key.meta) return input === "" ? [] : [{ name: `alt-${nameOf(input)}`, text: "" }];
  return [...new Intl.Segmenter().segment(input)].flatMap(({ segment }) => pressOf(segment));
}

/** How a key is written on the screen. */
export function showKey(name: string, isAscii: boolean): string {
  const arrows: Readonly<Record<string, string>> = { up: "↑", down: "↓", left: "←", right: "→" };
  const known: Readonly<Record<string, string>> = {
    enter: "Enter",
    esc: "Esc",
    tab: "Tab",
    "shift-tab": "Shift-Tab",
    space: "Space",
    pageup: "PgUp",
    pagedown: "PgDn",
    home: "Home",
    end: "End",
    delete: "Del",
    backspace: "Backspace",
    ...(isAscii ? { up: "Up", down: "Down", left: "Left", right: "Right" } : arrows),
  };
  return known[name] ?? name.replace(/^ctrl-/, "^").replace(/^alt-/, "Alt-");
}

/** Whether a name from the configuration is that of a key. */
export function isKeyName(name: string): boolean {
  return /^(?:(?:ctrl|alt)-)?\S$/u.test(name) || specialNames.has(name.replace(/^(?:shift|ctrl|alt)-/, ""));
}

const specialNames = new Set([
  "enter",
  "esc",
  "tab",
  "space",
  "up",
  "down",
  "left",
  "right",
  "home",
  "end",
  "pageup",
  "pagedown",
  "backspace",
  "delete",
]);

function specialName(key: InkKey): string | undefined {
  if (key.upArrow) return "up";
  if (key.downArrow) return "down";
  if (key.leftArrow) return "left";
  if (key.rightArrow) return "right";
  if (key.pageDown) return "pagedown";
  if (key.pageUp) return "pageup";
  if (key.home) return "home";
  if (key.end) return "end";
  if (key.return) return "enter";
  if (key.escape) return "esc";
  if (key.tab) return "tab";
  if (key.backspace) return "backspace";
  if (key.delete) return "delete";
  return undefined;
}

// Some terminals send the modifiers of arrows, some do not: nothing needs them but word moves in a text.
function prefixed(name: string, key: InkKey): string {
  if (name === "esc") return name;
  if (name === "tab") return key.shift ? "shift-tab" : name;
  if (key.ctrl) return `ctrl-${name}`;
  return key.meta ? `alt-${name}` : name;
}

function pressOf(segment: string): KeyPress[] {
  if (segment === " ") return [{ name: "space", text: " " }];
  if (segment === "\r" || segment === "\n" || segment === "\r\n") return [{ name: "enter", text: "" }];
  if (segment === "\t") return [{ name: "tab", text: "" }];
  const point = segment.codePointAt(0) ?? 0;
  if (point < 0x20) return [{ name: `ctrl-${String.fromCharCode(point + 0x60)}`, text: "" }];
  return [{ name: segment, text: segment }];
}

function nameOf(input: string): string {
  return input === " " ? "space" : input;
}
