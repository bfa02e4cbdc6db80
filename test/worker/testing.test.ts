import { describe, expect, test } from "vitest";
import { defineHandler, type Handler } from "../../worker/context.ts";
import { JobFailure } from "../../worker/failure.ts";
import { tryHandler } from "../../worker/testing.ts";

describe("a handler that is tried", () => {
  test("gets its job, and all that it says is there afterwards", async () => {
    const handler: Handler<{ text: string }> = async (ctx) => {
      ctx.addSecret("hunter2!");
      ctx.log(`${ctx.job.kind} ${ctx.job.attempt} ${ctx.payload.text} hunter2!`);
      ctx.log.stdout("half a");
      ctx.log.stdout(" line\n");
      ctx.progress(0.5, "half");
      ctx.partial({ n: 1 });
      ctx.message("look");
      ctx.event("built", { by: "hunter2!" });
      ctx.pullRequest("https://github.com/a/b/pull/1");
      const child = await ctx.submit({ kind: "child", payload: { of: 1 } });
      await ctx.artifact("a.txt", Buffer.from("x"));
      const [parent] = await ctx.parents<{ size: number }>();
      return { child, parent: parent?.result?.size, project: ctx.project, at: new Date(0) };
    };
    const ran = await tryHandler(handler, {
      payload: { text: "hi" },
      kind: "a.b",
      attempt: 2,
      parentResults: [{ size: 7 }],
      project: { name: "acme/web", root: "/src" },
    });
    expect(ran.outcome).toMatchObject({ kind: "succeeded", prUrl: "https://github.com/a/b/pull/1" });
    expect(ran.result).toEqual({
      child: { jobId: "job_1", replayed: false },
      parent: 7,
      project: { name: "acme/web", root: "/src", remoteUrl: null },
      at: "1970-01-01T00:00:00.000Z",
    });
    expect(ran.logs.join("")).toBe("a.b 2 hi ***half a line\n");
    expect(ran.progress).toEqual([{ fraction: 0.5, message: "half" }]);
    expect([ran.partials, ran.messages]).toEqual([[{ n: 1 }], ["look"]]);
    expect(ran.events).toEqual([{ name: "built", body: { by: "***" } }]);
    expect(ran.submitted).toEqual([{ kind: "child", payload: { of: 1 } }]);
    expect(ran.artifacts.map(({ name }) => name)).toEqual(["a.txt"]);
  });

  test("ends as it would in a worker: failed, parked, released, stopped", async () => {
    const kindOf = async (handler: Handler) => (await tryHandler(handler)).outcome;
    const fails: Handler = () => {
      throw new JobFailure("no", { code: "NO", retryable: false });
    };
    expect(await kindOf(fails)).toMatchObject({ kind: "failed", code: "NO", retryable: false });
    expect(await kindOf((ctx) => ctx.park({ reason: "later", wakeAfterMs: 5 }))).toMatchObject({
      kind: "parked",
      wakeAfterMs: 5,
    });
    expect(await kindOf((ctx) => ctx.release("not me"))).toEqual({ kind: "released", reason: "not me" });
    expect(await kindOf(() => ({ big: 1n }))).toMatchObject({ kind: "failed", code: "RESULT_NOT_JSON" });
    const cancel = new AbortController();
    const waits = defineHandler(async ({ signal }) => {
      setImmediate(() => cancel.abort());
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      signal.throwIfAborted();
    });
    expect((await tryHandler(waits, { cancel: cancel.signal })).outcome).toMatchObject({ kind: "stopped" });
  });
});
