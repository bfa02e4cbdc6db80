import { type Choice, paletteOverlay } from "../overlays/palette.ts";
import { type KeyTable, labelOf } from "./bindings.ts";
import { showKey } from "./keys.ts";
import type { Screen, Shell } from "./screen.ts";
import { type ThemeName, themeNames } from "./themes.ts";

/** Opens the palette: actions of the screen, views, themes. */
export function openPalette(shell: Shell, keys: KeyTable, setTheme: (theme: ThemeName) => void): void {
  const views = shell.views.map(
    ({ id, key, title, aliases = [] }): Choice => ({
      label: [`go ${title}`, ...aliases].join(" "),
      about: key,
      run: (rest) => shell.show(id, rest === "" ? undefined : (screen) => screen.filter?.apply(rest)),
    }),
  );
  const hidden = new Set(["palette", "back"]);
  const actions = keys.bindings
    .filter(({ id, group }) => group !== "move" && !hidden.has(id) && !id.startsWith("view."))
    .map(
      (binding): Choice => ({
        label: labelOf(binding),
        about: [
          binding.danger === "none" ? "" : binding.danger,
          binding.keys.map((key) => showKey(key, false))[0] ?? "",
        ]
          .filter((part) => part !== "")
          .join("  "),
        disabled: binding.when?.(),
        run: () => binding.run(),
      }),
    );
  const themes = themeNames.map(
    (theme): Choice => ({ label: `theme ${theme}`, about: "settings", run: () => setTheme(theme) }),
  );
  shell.open((close) =>
    paletteOverlay({ id: "palette", title: "Commands", choices: [...actions, ...views, ...themes] }, close),
  );
}

/** Opens the menu of what can be copied. */
export function openCopyMenu(shell: Shell, screen: Screen): void {
  const id = screen.currentId?.();
  const copies: (readonly [string, string])[] = [
    ...(id === undefined ? [] : [["id", id] as const]),
    ...(screen.copies?.() ?? []),
    ["the command that prints this screen", screen.command()],
  ];
  const choices = copies.map(
    ([what, text]): Choice => ({ label: what, about: text.slice(0, 60), run: () => shell.copy(text, what) }),
  );
  shell.open((close) => paletteOverlay({ id: "copy", title: "Copy", choices, isMenu: true }, close));
}
