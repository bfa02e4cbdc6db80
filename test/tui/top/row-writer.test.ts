import { describe, expect, test } from "vitest";
import { createRowWriter } from "../../../tui/top/row-writer.ts";

function writing() {
  const written: string[] = [];
  const writer = createRowWriter((text) => void written.push(text));
  return { writer, take: () => written.splice(0).join("") };
}

const frame = (text: string): string => `\u001b[?2026h\u001b[?7l${text}\u001b[H\u001b[?7h\u001b[?2026l`;
const row = (at: number, text: string): string => `\u001b[${at};1H\u001b[2K${text}`;
const erased = "\u001b[H\u001b[J";

describe("the row writer", () => {
  test("writes every row of a screen that it does not know, then those that changed", () => {
    const { writer, take } = writing();
    writer.show(["one", "two", "three"], 80);
    expect(take()).toBe(frame(erased + row(1, "one") + row(2, "two") + row(3, "three")));
    writer.show(["one", "2", "three"], 80);
    expect(take()).toBe(frame(row(2, "2")));
  });

  test("lets styles through, and nothing else that acts on a terminal", () => {
    const { writer, take } = writing();
    writer.show(["\u001b[1;31mred\u001b[0m \u001b[2J\u001b]0;t\u0007\u009b31m\n"], 80);
    expect(take()).toBe(frame(erased + row(1, "\u001b[1;31mred\u001b[0m ␛[2J␛]0;t␇␛[31m␊")));
  });

  test("writes nothing where nothing changed", () => {
    const { writer, take } = writing();
    writer.show(["one"], 80);
    take();
    writer.show(["one"], 80);
    expect(take()).toBe("");
  });

  test.each([
    ["narrower", ["one", "two"], 40],
    ["higher", ["one", "two", ""], 80],
    ["lower", ["one"], 80],
  ])("writes every row anew when the screen is %s", (_, rows, columns) => {
    const { writer, take } = writing();
    writer.show(["one", "two"], 80);
    take();
    writer.show(rows, columns);
    expect(take()).toBe(frame(erased + rows.map((text, at) => row(at + 1, text)).join("")));
  });

  test("leaves the terminal to others, and has the screen back as it is then", async () => {
    const { writer, take } = writing();
    writer.show(["one"], 80);
    take();
    const editing = Promise.withResolvers<void>();
    const away = writer.away(() => editing.promise);
    writer.show(["meanwhile"], 80);
    expect(take()).toBe("");
    editing.reject(new Error("no editor"));
    await expect(away).rejects.toThrow("no editor");
    expect(take()).toBe(frame(erased + row(1, "meanwhile")));
  });
});
