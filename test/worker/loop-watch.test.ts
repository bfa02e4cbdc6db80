import { expect, onTestFinished, test } from "vitest";
import { LoopWatch } from "../../worker/loop-watch.ts";

test("tells once how long the event loop was blocked", () => {
  const watch = new LoopWatch();
  onTestFinished(() => watch.stop());
  const untilMs = performance.now() + 300;
  while (performance.now() < untilMs);
  expect(watch.takeMs()).toBeGreaterThanOrEqual(150);
  expect(watch.takeMs()).toBe(0);
});
