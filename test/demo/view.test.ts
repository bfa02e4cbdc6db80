import { create } from "@bufbuild/protobuf";
import { JobState } from "@muster/client/v1/job";
import { StatusSchema } from "@muster/client/v1/status_service";
import { WorkerState } from "@muster/client/v1/worker";
import { describe, expect, test } from "vitest";
import { createView } from "./view.ts";

const status = create(StatusSchema, {
  workers: { online: 2 },
  jobs: [
    { state: JobState.READY, count: 5n },
    { state: JobState.RUNNING, count: 3n },
    { state: JobState.SUCCEEDED, count: 11n },
    { state: JobState.DEAD, count: 1n },
  ],
  workerList: [{ name: "worker-1", state: WorkerState.BUSY, leases: 3, capacity: { slots: 4 } }],
});

function viewOn(columns: number | undefined) {
  const parts: string[] = [];
  const clock = { ms: 0 };
  const screen = { columns, write: (part: string) => void parts.push(part) };
  const view = createView(screen, { total: () => 20, startedMs: 0, nowMs: () => clock.ms });
  return { view, clock, written: () => parts.join("") };
}

describe("where there is no terminal", () => {
  test("writes a line every two seconds, and each note at once", () => {
    const { view, clock, written } = viewOn(undefined);
    for (clock.ms = 500; clock.ms <= 4_500; clock.ms += 500) view.show(status);
    view.note("killed");
    view.end();
    expect(written().split("\n")).toEqual([
      "  2.0 s  12 of 20 jobs ended, 3 running, 5 waiting, 2 workers online",
      "  4.0 s  12 of 20 jobs ended, 3 running, 5 waiting, 2 workers online",
      "  5.0 s  killed",
      "",
    ]);
    expect(written()).not.toContain("\x1b");
  });
});

describe("on a terminal", () => {
  test("draws one block, and draws it again in its place", () => {
    const { view, written } = viewOn(80);
    view.show(status);
    const block = written();
    expect(block).toContain("[########################................] 12 of 20");
    expect(block).toContain("ready 5  running 3  succeeded 11  dead 1");
    expect(block).toContain("worker-1    busy      3 of 4 slots");
    view.show(status);
    expect(written()).toBe(`${block}\x1b[4A\r\x1b[J${block}`);
    view.end();
    expect(written().endsWith("\x1b[4A\r\x1b[J")).toBe(true);
  });

  test("keeps notes above the block", () => {
    const { view, written } = viewOn(80);
    view.show(status);
    const block = written();
    view.note("killed");
    expect(written()).toBe(`${block}\x1b[4A\r\x1b[J  0.0 s  killed\n${block}`);
  });

  test("never fills a line, so that no line wraps", () => {
    const { view, written } = viewOn(20);
    view.show(status);
    expect(
      Math.max(
        ...written()
          .split("\n")
          .map((line) => line.length),
      ),
    ).toBe(19);
  });

  test("lets no name from outside move the cursor", () => {
    const { view, written } = viewOn(80);
    view.note("\x1b[31mred");
    view.show(create(StatusSchema, { workerList: [{ name: "\x1b[2Jbad" }] }));
    expect(written()).toContain("red");
    expect(written()).toContain("bad");
    expect(written()).not.toContain("\x1b");
  });
});
