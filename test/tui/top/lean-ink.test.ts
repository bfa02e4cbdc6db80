import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const leanInk = new URL("../../../tui/top/lean-ink.ts", import.meta.url).href;
const ink = import.meta.resolve("ink");

// Prints the modules that were loaded, and what Ink is then.
const script = (before: string): string => `
import { registerHooks } from "node:module";
const urls = new Set();
registerHooks({ load(url, context, next) { urls.add(url); return next(url, context); } });
${before}
const { render } = await import(${JSON.stringify(ink)});
console.log(JSON.stringify({ render: typeof render, urls: [...urls] }));`;

async function load(before: string): Promise<{ readonly render: string; readonly urls: readonly string[] }> {
  const words = ["--input-type=module", "-e", script(before)];
  return JSON.parse((await promisify(execFile)(process.execPath, words)).stdout);
}

const toolkit = (urls: readonly string[]): number =>
  urls.filter((url) => url.includes("/es-toolkit/")).length;

test("gives Ink the one function that it uses, and not hundreds", async () => {
  const whole = await load("");
  const lean = await load(`(await import(${JSON.stringify(leanInk)})).leanInk();`);
  expect(lean.render).toBe("function");
  expect(toolkit(whole.urls)).toBeGreaterThan(200);
  expect(toolkit(lean.urls)).toBeLessThan(10);
});

test("leaves what is loaded afterwards alone", async () => {
  const after = await load(`(await import(${JSON.stringify(leanInk)})).leanInk()();`);
  expect(toolkit(after.urls)).toBeGreaterThan(200);
});
