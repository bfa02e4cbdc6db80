import type { KeyBinding } from "../shell/bindings.ts";
import type { ListStore } from "../store/list.ts";

/** What moving in a list may do besides moving. */
export interface ListMoves {
  /** The list goes on: another page is wanted. Answers false when there is none. */
  readonly page?: (where: "next" | "previous" | "first" | "last") => boolean;
  /** Columns at the left that are scrolled out, and how to change that. */
  readonly shift?: (by: -1 | 1) => void;
  /** Rows of the window. */
  readonly height: () => number;
  /** Whether rows can be marked for actions on many. */
  readonly canMark: boolean;
}

/** The keys of every list: moving, paging, marking. */
export function listKeys<Row>(list: ListStore<Row>, moves: ListMoves): KeyBinding[] {
  const move = (by: number): void => {
    if (list.move(by)) return;
    moves.page?.(by > 0 ? "next" : "previous");
  };
  const go = (id: string, keys: readonly string[], label: string, run: () => void): KeyBinding => ({
    id,
    keys,
    label,
    group: "move",
    danger: "none",
    run,
  });
  const half = (): number => Math.max(1, moves.height() >> 1);
  const keys = [
    go("move.down", ["j", "down"], "down", () => move(1)),
    go("move.up", ["k", "up"], "up", () => move(-1)),
    go("move.half-down", ["ctrl-d"], "half a page down", () => move(half())),
    go("move.half-up", ["ctrl-u"], "half a page up", () => move(-half())),
    go("move.page-down", ["ctrl-f", "pagedown"], "a page down", () => move(moves.height())),
    go("move.page-up", ["ctrl-b", "pageup"], "a page up", () => move(-moves.height())),
    go("move.first", ["g", "home"], "first", () => {
      if (moves.page?.("first") !== true) list.moveTo("first");
    }),
    go("move.last", ["G", "end"], "last", () => {
      if (moves.page?.("last") !== true) list.moveTo("last");
    }),
  ];
  const { shift } = moves;
  if (shift !== undefined) {
    keys.push(
      go("move.right", ["l", "right"], "columns at the right", () => shift(1)),
      go("move.left", ["h", "left"], "columns at the left", () => shift(-1)),
    );
  }
  if (!moves.canMark) return keys;
  const mark = (id: string, names: readonly string[], label: string, run: () => void): KeyBinding => ({
    ...go(id, names, label, () => {
      run();
      // What is marked must not slip away under the action.
      list.freeze("marks", list.state().marks.size > 0 || list.state().allMarked);
    }),
    group: "act",
  });
  return [
    ...keys,
    mark("mark.toggle", ["space"], "mark", () => {
      list.toggleMark();
      list.move(1);
    }),
    mark("mark.range", ["V"], "mark up to here", () => list.markRange()),
    mark("mark.all", ["*"], "mark all that match", () => list.markAll()),
  ];
}

/** Takes all marks away; answers whether there were any. */
export function clearMarks<Row>(list: ListStore<Row>): boolean {
  const { marks, allMarked } = list.state();
  if (marks.size === 0 && !allMarked) return false;
  list.clearMarks();
  list.freeze("marks", false);
  return true;
}
