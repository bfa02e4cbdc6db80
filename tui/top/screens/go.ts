import { type Choice, paletteOverlay } from "../overlays/palette.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import type { Shell } from "../shell/screen.ts";

/** Goes to the jobs that a filter matches. */
export function goToJobs(shell: Shell, filter: string): void {
  goTo(shell, "jobs", filter);
}

/** Goes to a view with a filter. */
export function goTo(shell: Shell, viewId: string, filter: string): void {
  shell.show(viewId, (screen) => screen.filter?.apply(filter));
}

/** A choice of a menu of ways. */
export function wayTo(shell: Shell, label: string, viewId: string, filter: string): Choice {
  return { label, about: filter, run: () => goTo(shell, viewId, filter) };
}

/** The key `o`: a menu of what belongs to the row under the cursor. */
export function relatedKey<Row>(
  shell: Shell,
  current: () => Row | undefined,
  choices: (row: Row) => readonly Choice[],
): KeyBinding {
  return {
    id: "related",
    keys: ["o"],
    label: "go to...",
    group: "go",
    danger: "none",
    hint: 8,
    when: () => (current() === undefined ? "nothing is selected" : undefined),
    run: () => {
      const row = current();
      if (row === undefined) return;
      shell.open((close) =>
        paletteOverlay({ id: "related", title: "Go to", choices: choices(row), isMenu: true }, close),
      );
    },
  };
}

/** Why something cannot be done to the row under the cursor now: there is none, it is not fit, or it is not allowed. */
export function needsRow<Row>(
  shell: Shell,
  current: () => Row | undefined,
  scope: Parameters<Shell["barrier"]>[0],
  fits: (row: Row) => string | undefined = () => undefined,
): () => string | undefined {
  return () => {
    const row = current();
    if (row === undefined) return "nothing is selected";
    return fits(row) ?? shell.barrier(scope);
  };
}
