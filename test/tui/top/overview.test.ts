import { stripVTControlCharacters } from "node:util";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AttentionItem,
  AttentionItemSchema,
  AttentionSeverity,
} from "@muster/client/v1/explain_service";
import { describe, expect, test } from "vitest";
import { paintFor } from "../../../tui/output/paint.ts";
import { progressBar, sparkline } from "../../../tui/top/bars.ts";
import { overviewLines } from "../../../tui/top/screens/overview-view.ts";
import { createListStore, type ListState } from "../../../tui/top/store/list.ts";
import { addFlow, bucketMs, createStatusStore } from "../../../tui/top/store/status.ts";
import { sampleMs, sampleState, sampleStatus } from "./sample.ts";
import { frameAt } from "./stage.ts";

function attention(): ListState<AttentionItem> {
  const list = createListStore<AttentionItem>({ idOf: (item) => item.attentionId, nowMs: sampleMs });
  const item = (n: number, severity: AttentionSeverity, target: string, summary: string) =>
    create(AttentionItemSchema, {
      attentionId: `a${n}`,
      severity,
      target,
      summary,
      since: timestampFromMs(sampleMs - n * 60_000),
      jobs: n,
    });
  const rows = [
    item(4, AttentionSeverity.CRITICAL, "kind:render", "no worker has skill blender"),
    item(1, AttentionSeverity.WARNING, "wrk_1", "its heartbeat \u001b[2J is late"),
    item(9, AttentionSeverity.NOTICE, "queue:slow", "it is paused"),
  ];
  list.receive({ kind: "snapshot", rows, tokens: { next: "", previous: "" } }, sampleMs);
  return list.state();
}

describe("the overview", () => {
  test("uses bold, dim and reverse only without colours, and says the same", () => {
    const state = { status: sampleState(), attention: attention() };
    const plain = overviewLines(state, frameAt(80, 24));
    const mono = overviewLines(state, frameAt(80, 24, { paint: paintFor("mono") }));
    const colour = overviewLines(state, frameAt(80, 24, { paint: paintFor("colour") }));
    expect(mono.map(stripVTControlCharacters)).toEqual(plain);
    expect(colour.map(stripVTControlCharacters)).toEqual(plain);
    const codes = mono
      .join("")
      .split("\u001b[")
      .slice(1)
      .map((rest) => rest.slice(0, rest.indexOf("m")));
    expect(new Set(codes)).toEqual(new Set(["0", "1", "2", "7"]));
    expect(colour.join("")).toContain("\u001b[32m");
  });

  test("puts what needs attention first, made safe", () => {
    const lines = overviewLines({ status: sampleState(), attention: attention() }, frameAt(80, 24));
    expect(lines[0]).toMatch(/^─ Needs attention 3 ─/);
    expect(lines[1]).toMatch(/^▌■ kind:render {2}no worker has skill blender .*4 jobs {4}4m00s/);
    expect(lines[2]).toContain("its heartbeat ␛[2J is late");
  });

  test("says that it waits before the first figures", () => {
    const state = { status: createStatusStore(sampleMs).state(), attention: attention() };
    expect(overviewLines(state, frameAt(80, 24)).join("\n")).toContain("Waiting for the first figures");
  });
});

describe("the status", () => {
  test("counts what happened by span, and leaves out what happened unseen", () => {
    const at = (ms: number, submitted: bigint) => sampleStatus({ atMs: ms, submitted, succeeded: 0n });
    let flow = addFlow([], undefined, at(sampleMs, 100n), 0);
    flow = addFlow(flow, at(sampleMs, 100n), at(sampleMs + bucketMs / 2, 103n), 0);
    flow = addFlow(flow, at(sampleMs + bucketMs / 2, 103n), at(sampleMs + bucketMs, 110n), 0);
    flow = addFlow(flow, at(sampleMs + bucketMs, 110n), at(sampleMs + 60_000, 99_999n), 0);
    expect(flow.map(({ submitted }) => submitted)).toEqual([3, 7, 0]);
    // A coordinator on another database: the counters start again.
    expect(addFlow(flow, at(sampleMs + 60_000, 5n), at(sampleMs + 61_000, 1n), 0).at(-1)?.submitted).toBe(0);
  });

  test("keeps the moment of the loss over several tries and forgets it when figures come", () => {
    const store = createStatusStore(0);
    store.receive(sampleStatus(), 1_000);
    store.lose("gone", 500, 1, 2_000);
    store.lose("gone", 1_000, 2, 3_000);
    expect(store.state().connection).toMatchObject({
      kind: "lost",
      sinceMs: 2_000,
      attempt: 2,
      nextTryMs: 4_000,
    });
    store.receive(sampleStatus(), 5_000);
    expect(store.state()).toMatchObject({ connection: { kind: "live" }, receivedMs: 5_000 });
  });
});

describe("bars", () => {
  test("scale to the largest, keep zero apart from little, and leave the unknown blank", () => {
    expect(sparkline([0, 1, 50, 100, undefined], "unicode")).toBe("▁▂▅█ ");
    expect(sparkline([0, 0], "ascii")).toBe("__");
    expect(progressBar(0.5, 4, "unicode")).toBe("██░░");
    expect(progressBar(0.6, 4, "unicode")).toBe("██▍░");
    expect(progressBar(2, 4, "ascii")).toBe("####");
    expect(progressBar(Number.NaN, 4, "ascii")).toBe("----");
  });
});
