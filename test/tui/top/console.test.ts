import { afterEach, describe, expect, test } from "vitest";
import { makePeer } from "./peer.ts";
import { type Stage, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

function open(options: Parameters<typeof stage>[0]): Stage {
  const made = stage(options);
  stages.push(made);
  return made;
}

describe("the console", () => {
  test("shows the jobs", async () => {
    const peer = makePeer();
    const one = open({ routes: peer.routes });
    await one.shown("gpu-1");
    one.press("2");
    await one.shown("render.frame sh");
    one.press("?");
    one.press("esc", ":");
    one.type("jo");
    one.press("esc", "/");
    one.type("sta");
    expect(1).toBe(1);
  });
});
