import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runHandler } from "../support/handler-run.ts";
import { WorkerBench } from "../support/worker-bench.ts";

describe("calls", () => {
  test("submit child jobs under the lease, with keys that a second attempt repeats", async () => {
    const { outcome, api, lease } = await runHandler(async (ctx) => {
      const first = await ctx.submit({ kind: "child", payload: { n: 1 }, priority: 192 });
      const second = await ctx.submit({ kind: "child" });
      const own = await ctx.submit({ kind: "child" }, { idempotencyKey: "own" });
      const again = await ctx.submit({ kind: "child" }, { idempotencyKey: "own" });
      return [first.jobId, second.jobId, own.replayed, again.replayed];
    });
    expect(outcome.case).toBe("success");
    expect(api.submits.map(({ idempotencyKey }) => idempotencyKey)).toEqual([
      `child:${lease.jobId}:1`,
      `child:${lease.jobId}:2`,
      "own",
      "own",
    ]);
    expect(api.submits[0]).toMatchObject({ parent: lease, job: { kind: "child", priority: 192 } });
    const content = api.submits[0]?.job?.payload?.content.value;
    expect(Buffer.from(content instanceof Uint8Array ? content : []).toString()).toBe('{"n":1}');
  });

  test("that are refused fail the handler with the API's error", async () => {
    const { outcome } = await runHandler((ctx) => ctx.submit({ kind: "" }));
    expect(outcome).toMatchObject({
      case: "failure",
      value: { error: { message: expect.stringContaining("kind is required") } },
    });
  });

  test("use the lease's own token where it has one", async () => {
    const { api } = await runHandler((ctx) => ctx.submit({ kind: "child" }), { jobToken: "jt_1" });
    expect(api.keys).toEqual(["Bearer jt_1"]);
  });

  test("keep bytes and files as artifacts", async () => {
    await using bench = await WorkerBench.open();
    const path = join(bench.directory, "report.txt");
    await writeFile(path, "from a file");
    const { api, outcome, lease } = await runHandler(async (ctx) => {
      await ctx.artifact("a.bin", Uint8Array.of(1, 2, 3), { contentType: "application/x-test" });
      return await ctx.artifact("b.txt", path);
    });
    expect(outcome.case).toBe("success");
    expect(api.uploads).toEqual(
      new Map([
        ["a.bin", Buffer.from([1, 2, 3])],
        ["b.txt", Buffer.from("from a file")],
      ]),
    );
    expect(api.commits).toMatchObject([
      { lease, artifactId: "art_a.bin", contentType: "application/x-test", sizeBytes: 3n },
      { artifactId: "art_b.txt", contentType: "application/octet-stream", sizeBytes: 11n },
    ]);
  });

  test("an upload that is refused says what the store said", async () => {
    const { outcome } = await runHandler((ctx) => ctx.artifact("refused", Uint8Array.of(1)));
    const message = "the upload of refused was answered with 403: the URL has expired";
    expect(outcome).toMatchObject({ case: "failure", value: { error: { message } } });
  });
});
