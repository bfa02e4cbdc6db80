import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createListStore, type ListStore } from "../../../../tui/top/store/list.ts";

interface Row {
  readonly id: string;
  readonly word: string;
}

const tokens = { next: "", previous: "" };
const row = (id: string, word = ""): Row => ({ id, word });

function makeList(ids: readonly string[]): ListStore<Row> {
  const list = createListStore<Row>({
    idOf: ({ id }) => id,
    compare: (one, other) => (one.id < other.id ? -1 : 1),
    isChanged: (before, after) => before.word !== after.word,
    nowMs: 0,
  });
  list.receive({ kind: "snapshot", rows: ids.map((id) => row(id)), tokens }, 1);
  return list;
}

describe("a list", () => {
  test("keeps its cursor in the window as it moves", () => {
    const list = makeList(["a", "b", "c", "d", "e"]);
    list.fit(2);
    list.move(3);
    expect(list.state()).toMatchObject({ cursor: "d", top: 2 });
    list.move(-2);
    expect(list.state()).toMatchObject({ cursor: "b", top: 1 });
    expect(list.move(-9)).toBe(true);
    expect(list.move(-1)).toBe(false);
    list.moveTo("last");
    expect(list.state()).toMatchObject({ cursor: "e", top: 3 });
  });

  test("puts new rows where they belong, and keeps the page bounded", () => {
    const list = createListStore<Row>({
      idOf: ({ id }) => id,
      compare: (one, other) => (one.id < other.id ? -1 : 1),
      most: 3,
      nowMs: 0,
    });
    list.receive({ kind: "snapshot", rows: [row("b"), row("d")], tokens }, 1);
    list.receive({ kind: "delta", rows: [row("c"), row("a")], left: [] }, 2);
    expect(list.state().order).toEqual(["a", "b", "c"]);
  });

  test("keeps a row that left under the cursor, and lets it go when the cursor does", () => {
    const list = makeList(["a", "b", "c"]);
    list.move(1);
    list.receive({ kind: "delta", rows: [], left: ["b"] }, 2);
    expect(list.state().order).toEqual(["a", "b", "c"]);
    expect([...list.state().left]).toEqual(["b"]);
    list.move(1);
    expect(list.state()).toMatchObject({ cursor: "c", order: ["a", "c"] });
  });

  test("shows changes of rows while frozen, and the rest when it goes on", () => {
    const list = makeList(["a", "b"]);
    list.freeze("user", true);
    list.freeze("dialog", true);
    list.receive({ kind: "delta", rows: [row("0"), row("b", "new")], left: ["a"] }, 2);
    expect(list.state()).toMatchObject({ order: ["a", "b"], waiting: 2, isFrozen: true });
    expect(list.state().rows.get("b")?.word).toBe("new");
    list.freeze("user", false);
    expect(list.state().isFrozen).toBe(true);
    list.freeze("dialog", false);
    expect(list.state()).toMatchObject({ order: ["a", "0", "b"], waiting: 0, isFrozen: false });
  });

  test("marks rows by id, a range, or all that match", () => {
    const list = makeList(["a", "b", "c", "d"]);
    list.toggleMark();
    list.move(2);
    list.markRange();
    expect([...list.state().marks]).toEqual(["a", "b", "c"]);
    list.markAll();
    expect(list.state()).toMatchObject({ allMarked: true });
    expect(list.state().marks.size).toBe(0);
    list.clearMarks();
    expect(list.state().allMarked).toBe(false);
  });

  test("sets a change off, for two seconds", () => {
    const list = makeList(["a"]);
    list.receive({ kind: "delta", rows: [row("a", "x")], left: [] }, 1_000);
    expect(list.state().changedMs.has("a")).toBe(true);
    list.settle(2_900);
    expect(list.state().changedMs.has("a")).toBe(true);
    list.settle(3_000);
    expect(list.state().changedMs.has("a")).toBe(false);
  });

  test("begins at the end of a page that is left backwards", () => {
    const list = makeList(["a", "b"]);
    list.clear(5, "last");
    expect(list.state()).toMatchObject({ order: [], isLoaded: false });
    list.receive({ kind: "snapshot", rows: [row("x"), row("y")], tokens }, 6);
    expect(list.state().cursor).toBe("y");
  });

  test("is what the server said last, whatever the user did in between", () => {
    const ids = ["a", "b", "c", "d", "e"];
    const step = fc.oneof(
      fc.record({ kind: fc.constant("delta" as const), rows: fc.subarray(ids), left: fc.subarray(ids) }),
      fc.record({ kind: fc.constant("snapshot" as const), rows: fc.subarray(ids) }),
      fc.record({ kind: fc.constant("move" as const), by: fc.integer({ min: -3, max: 3 }) }),
      fc.record({ kind: fc.constant("freeze" as const), isHeld: fc.boolean() }),
      fc.record({ kind: fc.constant("mark" as const) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const list = makeList(ids);
        let truth = new Set(ids);
        for (const [at, one] of steps.entries()) {
          if (one.kind === "delta") {
            const left = one.left.filter((id) => !one.rows.includes(id));
            list.receive({ kind: "delta", rows: one.rows.map((id) => row(id, String(at))), left }, at);
            truth = new Set([...truth, ...one.rows].filter((id) => !left.includes(id)));
          } else if (one.kind === "snapshot") {
            list.receive({ kind: "snapshot", rows: one.rows.map((id) => row(id)), tokens }, at);
            truth = new Set(one.rows);
          } else if (one.kind === "move") list.move(one.by);
          else if (one.kind === "freeze") list.freeze("user", one.isHeld);
          else list.toggleMark();
          const { cursor, order, rows } = list.state();
          expect(new Set(order).size).toBe(order.length);
          expect(order.every((id) => rows.has(id))).toBe(true);
          if (order.length > 0) expect(order).toContain(cursor);
        }
        list.freeze("user", false);
        const { order, left } = list.state();
        expect(order.filter((id) => !left.has(id))).toEqual([...truth].sort());
        expect(left.size).toBeLessThanOrEqual(1);
      }),
    );
  });
});
