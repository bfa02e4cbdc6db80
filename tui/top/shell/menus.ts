import { type LookupCandidate, LookupType, SystemService } from "@muster/client/v1/system_service";
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
  const ids = lookup(shell);
  shell.open((close) => {
    const choices = [...actions, ...views, ...themes];
    const overlay = paletteOverlay({ id: "palette", title: "Commands", choices, more: ids.find }, close);
    return { ...overlay, closed: ids.end };
  });
}

/** Letters of an id from which on the server is asked what they mean. */
const leastLetters = 4;

/** Asks the server what a part of an id or a name means; what it answers is there with a later frame. */
function lookup(shell: Shell): {
  readonly find: (text: string) => readonly Choice[];
  readonly end: () => void;
} {
  let asked = "";
  let found: readonly LookupCandidate[] = [];
  let asking = new AbortController();
  const ask = async (text: string, signal: AbortSignal): Promise<void> => {
    // A server that does not know the method finds nothing.
    const answer = await shell
      .client(SystemService)
      .lookup({ text, limit: 5 }, { signal, timeoutMs: 5_000 })
      .catch(() => undefined);
    if (signal.aborted || answer === undefined) return;
    found = answer.candidates;
    shell.changed();
  };
  return {
    find: (text) => {
      if (text !== asked) {
        asking.abort();
        asking = new AbortController();
        asked = text;
        found = [];
        if (text.length >= leastLetters && !text.includes(" ")) void ask(text, asking.signal);
      }
      return found.flatMap((candidate) => lookupChoice(shell, candidate));
    },
    end: () => asking.abort(),
  };
}

/** The view that shows a sort of thing, and the term of its filter that finds one. */
const lookupViews: Readonly<Partial<Record<LookupType, readonly [view: string, term: string]>>> = {
  [LookupType.JOB]: ["jobs", "id"],
  [LookupType.WORKER]: ["workers", "id"],
  [LookupType.QUEUE]: ["jobs", "queue"],
  [LookupType.PROJECT]: ["jobs", "project"],
  [LookupType.SESSION]: ["jobs", "session"],
  [LookupType.BATCH]: ["jobs", "batch"],
  [LookupType.KIND]: ["jobs", "kind"],
  [LookupType.SKILL]: ["jobs", "skill"],
};

function lookupChoice(shell: Shell, { type, id, label }: LookupCandidate): Choice[] {
  const [viewId, term] = lookupViews[type] ?? [];
  if (viewId === undefined || !shell.views.some((view) => view.id === viewId)) return [];
  const filter = `${term}:${/[\s"]/.test(id) ? JSON.stringify(id) : id}`;
  return [
    {
      label: `${LookupType[type]?.toLowerCase() ?? ""} ${id}`,
      about: label,
      run: () => shell.show(viewId, (screen) => screen.filter?.apply(filter)),
    },
  ];
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
