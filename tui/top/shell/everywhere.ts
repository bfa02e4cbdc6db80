import type { KeyBinding } from "./bindings.ts";
import type { ViewEntry } from "./screen.ts";
import type { Undo } from "./toasts.ts";

/** What the keys of every screen do. */
export interface EverywhereActs {
  readonly views: readonly ViewEntry[];
  readonly show: (viewId: string) => void;
  readonly palette: () => void;
  readonly help: () => void;
  readonly filter: () => void;
  readonly hasFilter: () => boolean;
  readonly back: () => void;
  readonly quit: () => void;
  /** `q` goes back instead of quitting. */
  readonly isNested: () => boolean;
  readonly freeze: () => void;
  readonly isFrozen: () => boolean;
  readonly canFreeze: () => boolean;
  readonly copyId: () => void;
  readonly copyMenu: () => void;
  readonly copyCommand: () => void;
  readonly currentId: () => string | undefined;
  readonly time: () => void;
  readonly resync: () => void;
  readonly mouse: () => void;
  readonly isMouseOn: () => boolean;
  readonly undo: () => void;
  readonly undoable: () => Undo | undefined;
  readonly last: () => void;
  readonly history: (by: -1 | 1) => void;
  readonly suspend: () => void;
}

/** The keys that mean the same on every screen. */
export function everywhereKeys(acts: EverywhereActs): KeyBinding[] {
  const none = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "go",
    danger: "none",
    run,
  });
  const views = acts.views
    .filter(({ key }) => key !== "")
    .map((view) => none(`view.${view.id}`, [view.key], view.title, () => acts.show(view.id)));
  const needsRow = (): string | undefined =>
    acts.currentId() === undefined ? "nothing is selected" : undefined;
  return [
    { ...none("palette", [":", "ctrl-p"], "commands", acts.palette), hint: 90 },
    {
      ...none("filter", ["/"], "filter", acts.filter),
      group: "look",
      hint: 91,
      when: () => (acts.hasFilter() ? undefined : "nothing to filter here"),
    },
    { ...none("help", ["?"], "help", acts.help), hint: 92 },
    { ...none("quit", ["q"], "", acts.quit), label: () => (acts.isNested() ? "back" : "quit"), hint: 93 },
    none("back", ["esc"], "back", acts.back),
    ...views,
    {
      ...none("freeze", ["f"], "freeze, live again", acts.freeze),
      label: () => (acts.isFrozen() ? "live again" : "freeze"),
      group: "look",
      when: () => (acts.canFreeze() ? undefined : "no list here"),
    },
    { ...none("copy.id", ["y"], "copy id", acts.copyId), group: "look", when: needsRow },
    { ...none("copy.menu", ["Y"], "copy...", acts.copyMenu), group: "look" },
    { ...none("copy.command", ["C"], "copy the command that prints this", acts.copyCommand), group: "look" },
    { ...none("time", ["T"], "time: ago, clock, UTC", acts.time), group: "look" },
    { ...none("resync", ["ctrl-r"], "read again", acts.resync), group: "look" },
    {
      ...none("undo", ["u"], "undo", acts.undo),
      label: () => acts.undoable()?.label ?? "undo",
      group: "act",
      when: () => (acts.undoable() === undefined ? "nothing to undo" : undefined),
    },
    {
      ...none("mouse", ["m"], "mouse", acts.mouse),
      label: () => (acts.isMouseOn() ? "mouse off" : "mouse on (Shift selects text)"),
      group: "look",
    },
    none("view.last", ["`"], "the view before", acts.last),
    none("history.back", ["{"], "back in history", () => acts.history(-1)),
    none("history.forward", ["}"], "forward in history", () => acts.history(1)),
    none("suspend", ["ctrl-z"], "suspend", acts.suspend),
  ];
}
