import type { KeyBinding } from "./bindings.ts";
import type { KeyPress } from "./keys.ts";
import type { Screen } from "./screen.ts";

/** Keys for rows that have not come yet. */
export interface HeldKeys {
  /** Keeps a key for when the rows are there; answers false when there is nothing to wait for. */
  readonly hold: (screen: Screen, binding: KeyBinding, press: KeyPress) => boolean;
  /** Presses what was kept, once the rows of the screen on top are there. */
  readonly release: (top: Screen, press: (press: KeyPress) => void) => void;
  readonly drop: () => void;
}

/** More of them are somebody who leans on a key. */
const most = 32;

/**
 * Makes an empty place for keys. Only what moves, marks and opens is kept, never an act: nobody shall act on a row
 * before seeing it.
 */
export function holdKeys(): HeldKeys {
  let held: KeyPress[] = [];
  let holder: Screen | undefined;
  return {
    hold: (screen, binding, press) => {
      const isOfRows = binding.group === "move" || binding.id.startsWith("mark.");
      const isMine = screen.keys().some(({ id }) => id === binding.id);
      if (screen.awaiting?.() !== true || !isMine || binding.danger !== "none") return false;
      if (!isOfRows && binding.when?.() === undefined) return false;
      if (holder !== screen) held = [];
      holder = screen;
      if (held.length < most) held.push(press);
      return true;
    },
    release: (top, press) => {
      if (holder === undefined) return;
      if (holder !== top) held = [];
      if (holder === top && top.awaiting?.() === true) return;
      const kept = held;
      held = [];
      holder = undefined;
      for (const one of kept) press(one);
    },
    drop: () => {
      held = [];
      holder = undefined;
    },
  };
}
