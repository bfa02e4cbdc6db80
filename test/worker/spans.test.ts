import { describe, expect, test } from "vitest";
import { Spans, spanBounds } from "../../worker/spans.ts";

/** Spans whose clock is moved by hand. */
function open() {
  let nowMs = 1_000;
  const spans = new Spans(nowMs, undefined, () => nowMs);
  const pass = (ms: number) => {
    nowMs += ms;
  };
  const rows = () =>
    spans
      .finish()
      .spans.map(({ name, parent, count, failed, totalMs, selfMs }) => [
        ...[name, parent, count, failed, totalMs, selfMs],
      ]);
  return { spans, pass, rows };
}

describe("spans", () => {
  test("are below the one that they were begun in, also across await; self is what no other held", async () => {
    const { spans, pass, rows } = open();
    const answer = await spans.run("request", async () => {
      pass(5);
      await Promise.resolve();
      await spans.run("query", async () => {
        await Promise.resolve();
        pass(20);
      });
      pass(3);
      return "done";
    });
    expect(answer).toBe("done");
    pass(2);
    expect(rows()).toEqual([
      ["request", null, 1, 0, 28, 8],
      ["query", 0, 1, 0, 20, 20],
    ]);
  });

  test("of one name in one place are one, of one name in two places are two", () => {
    const { spans, pass, rows } = open();
    for (let n = 0; n < 1_000; n++) spans.run("row", () => pass(1));
    spans.run("other", () => spans.run("row", () => pass(7)));
    expect(rows()).toEqual([
      ["row", null, 1_000, 0, 1_000, 1_000],
      ["other", null, 1, 0, 7, 0],
      ["row", 1, 1, 0, 7, 7],
    ]);
  });

  test("that are open at the same time count their time once against the one that they are in", async () => {
    const { spans, pass, rows } = open();
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const both = spans.run("both", () =>
      Promise.all(gates.map(({ promise }, n) => spans.run(`part ${n}`, () => promise))),
    );
    pass(10);
    gates[0]?.resolve();
    await Promise.resolve();
    await gates[0]?.promise.then(() => undefined);
    pass(10);
    gates[1]?.resolve();
    await both;
    expect(rows()).toEqual([
      ["both", null, 1, 0, 20, 0],
      ["part 0", 0, 1, 0, 10, 10],
      ["part 1", 0, 1, 0, 20, 20],
    ]);
  });

  test("pass on what is thrown, at once and later, and count it", async () => {
    const { spans, rows } = open();
    const broken = new Error("broken");
    expect(() =>
      spans.run("now", () => {
        throw broken;
      }),
    ).toThrow(broken);
    await expect(spans.run("later", () => Promise.reject(broken))).rejects.toBe(broken);
    expect(rows().map(([name, , count, failed]) => [name, count, failed])).toEqual([
      ["now", 1, 1],
      ["later", 1, 1],
    ]);
  });

  test("that are open at the end count until then, and no longer", async () => {
    const { spans, pass, rows } = open();
    const gate = Promise.withResolvers<void>();
    const never = spans.run("left", () => spans.run("inner", () => gate.promise));
    pass(4);
    const before = rows();
    pass(100);
    gate.resolve();
    await never;
    expect(before).toEqual([
      ["left", null, 1, 0, 4, 0],
      ["inner", 0, 1, 0, 4, 4],
    ]);
    expect(rows()).toEqual(before);
  });

  test("stay within bounds: what is beyond them is counted, and runs all the same", () => {
    const { spans } = open();
    for (let n = 0; n < spanBounds.names + 50; n++) {
      expect(spans.run(`name ${n}`, () => spans.run("inner", () => n))).toBe(n);
    }
    const deep = (depth: number): number => (depth === 0 ? 0 : 1 + spans.run("deep", () => deep(depth - 1)));
    expect(deep(40)).toBe(40);
    const profile = spans.finish();
    expect(profile.spans.length).toBe(spanBounds.names);
    expect(profile.dropped).toBe(2 * (spanBounds.names + 50) - spanBounds.names + 40);
  });

  test("go as deep as they may", () => {
    const { spans } = open();
    const deep = (depth: number): void => void (depth > 0 && spans.run("deep", () => deep(depth - 1)));
    deep(spanBounds.depth + 3);
    expect(spans.finish()).toMatchObject({ spans: { length: spanBounds.depth }, dropped: 3 });
  });

  test("have short names without control characters", () => {
    const { spans, rows } = open();
    spans.run(`a\nb${"x".repeat(500)}`, () => 0);
    spans.run("", () => 0);
    const [first, second] = rows().map(([name]) => String(name));
    expect(first).toMatch(/^a bx+…?$/);
    expect(first?.length).toBeLessThanOrEqual(spanBounds.nameChars);
    expect(second).toBe("(no name)");
  });
});
