import type { Screen } from "./screen.ts";

/** A view with the screens that were opened from it, the one on top last. */
export interface Place {
  readonly viewId: string;
  readonly screens: readonly Screen[];
}

/** Where the user is and was. Places are kept as they were left. */
export interface Stack {
  readonly top: () => Screen;
  readonly place: () => Place;
  readonly push: (screen: Screen) => void;
  /** Leaves the screen on top; answers false at the bottom. */
  readonly pop: () => boolean;
  /** Goes to a view, at its first screen. */
  readonly show: (viewId: string, screen: Screen) => void;
  /** The place before this one, in another view. */
  readonly last: () => boolean;
  readonly history: (by: -1 | 1) => boolean;
}

/** Places that are remembered. */
const longestHistory = 50;

/** Makes a stack that stands in a view. */
export function createStack(first: Place): Stack {
  let places: Place[] = [first];
  let at = 0;
  const here = (): Place => places[at] ?? first;
  const go = (place: Place): void => {
    places = [...places.slice(0, at + 1), place].slice(-longestHistory);
    at = places.length - 1;
  };
  const topOf = ({ screens }: Place): Screen => {
    const screen = screens.at(-1);
    if (screen === undefined) throw new Error("a place without a screen");
    return screen;
  };
  return {
    top: () => topOf(here()),
    place: here,
    push: (screen) => go({ viewId: here().viewId, screens: [...here().screens, screen] }),
    pop: () => {
      const { viewId, screens } = here();
      if (screens.length < 2) return false;
      go({ viewId, screens: screens.slice(0, -1) });
      return true;
    },
    show: (viewId, screen) => go({ viewId, screens: [screen] }),
    last: () => {
      const before = places
        .slice(0, at)
        .reverse()
        .find(({ viewId }) => viewId !== here().viewId);
      if (before === undefined) return false;
      go(before);
      return true;
    },
    history: (by) => {
      if (places[at + by] === undefined) return false;
      at += by;
      return true;
    },
  };
}
