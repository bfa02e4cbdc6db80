import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { JobState } from "@muster/client/v1/job";
import { JobAction } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import { jobId, makePeer, sampleJob } from "./peer.ts";
import { type Stage, type StageOptions, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

function open(options: StageOptions): Stage {
  const made = stage(options);
  stages.push(made);
  return made;
}

async function openJobs(options: StageOptions & { peer?: ReturnType<typeof makePeer> } = {}) {
  const peer = options.peer ?? makePeer();
  const one = open({ routes: peer.routes, settings: { view: "jobs" }, ...options });
  await one.shown("agent.codegen");
  await one.shown("● live");
  return { peer, one };
}

/** The row under the cursor. */
const selected = (one: Stage): string =>
  one
    .text()
    .split("\n")
    .find((line) => line.startsWith("▌")) ?? "";

describe("a list", () => {
  test("keeps the cursor on its job when others come before it", async () => {
    const { peer, one } = await openJobs();
    one.press("j");
    expect(selected(one)).toContain("…00099997");
    peer.tell({ case: "delta", value: { revision: "2", jobs: [sampleJob(0, JobState.READY)] } });
    await one.shown("…00099999");
    expect(selected(one)).toContain("…00099997");
  });

  test("keeps a job that left the filter until the cursor leaves it", async () => {
    const { peer, one } = await openJobs();
    one.press("j");
    peer.tell({ case: "delta", value: { revision: "2", leftJobIds: [jobId(2)] } });
    await one.shown("(left filter)");
    expect(selected(one)).toContain("…00099997");
    one.press("j");
    expect(one.text()).not.toContain("…00099997");
  });

  test("holds order and membership still while frozen, and counts what waits", async () => {
    const { peer, one } = await openJobs();
    one.press("f");
    peer.tell({
      case: "delta",
      value: { revision: "2", jobs: [sampleJob(0, JobState.READY)], leftJobIds: [jobId(4)] },
    });
    await one.shown("‖ frozen +2");
    expect(one.text()).toContain("…00099995");
    expect(one.text()).not.toContain("…00099999");
    one.press("f");
    expect(one.text()).toContain("…00099999");
    expect(one.text()).not.toContain("…00099995");
  });

  test("goes on by revision after a loss, and keeps the cursor over a reset", async () => {
    const { peer, one } = await openJobs({ wait: () => Promise.resolve() });
    one.press("j", "j");
    peer.tell({ case: "delta", value: { revision: "7" } });
    peer.tell({ case: "reset", value: { cause: "too-old" } });
    peer.tell({ case: "snapshotBegin", value: {} });
    peer.tell({
      case: "rows",
      value: {
        jobs: [sampleJob(0, JobState.READY), sampleJob(3, JobState.RUNNING), sampleJob(4, JobState.DEAD)],
      },
    });
    peer.tell({ case: "snapshotEnd", value: { revision: "9" } });
    await one.shown("…00099999");
    expect(selected(one)).toContain("…00099996");
    peer.cut();
    await expect.poll(() => peer.watches.at(-1)?.resumeRevision, { timeout: 5_000 }).toBe("9");
  });

  test("asks for the state of a tab, and says what the server refuses", async () => {
    const { peer, one } = await openJobs();
    one.press("]");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe("state:ready");
    one.press("/");
    one.type("skill:gpu");
    one.press("enter");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe("state:ready skill:gpu");
  });

  test("shows where the filter has a mistake", async () => {
    const { peer, one } = await openJobs();
    peer.refuseList = makeError(
      Code.InvalidArgument,
      "the filter cannot be read at column 11: stat is not a term",
      {
        reason: "FILTER_INVALID",
        suggestion: "Did you mean state?",
        requestId: "req_1",
        metadata: { column: "11" },
      },
    );
    one.press("/");
    one.type("kind:echo stat:x");
    one.press("enter");
    await one.shown("Did you mean state?");
    const lines = one.text().split("\n");
    const at = lines.findIndex((line) => line.includes("filter: kind:echo stat:x"));
    expect(lines[at + 1]?.indexOf("^")).toBe(lines[at]?.indexOf("stat:x"));
    delete peer.refuseList;
    one.press("/", "ctrl-u", "enter");
    await one.shown("agent.codegen");
  });

  test("leads to what a part of an id means", async () => {
    const { peer, one } = await openJobs();
    one.press(":");
    one.type("8qkx");
    await one.shown("job job_01jd9y3f4k8qkx2m0000099998");
    one.press("enter");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe(`id:${jobId(1)}`);
  });

  test("is asked for by the palette, with a filter", async () => {
    const { peer, one } = await openJobs();
    one.press("1", ":");
    one.type("jobs state:dead");
    one.press("enter");
    expect(one.console.screen().id).toBe("jobs");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe("state:dead");
  });
});

describe("keys pressed before the rows of a filter are there", () => {
  test("move, mark and open once they are", async () => {
    const { peer, one } = await openJobs();
    one.press("/");
    one.type("kind:render.*");
    one.press("enter", "j", "j", "space");
    expect(one.text()).not.toContain("1 marked");
    await one.shown("1 marked");
    const line = one
      .text()
      .split("\n")
      .find((text) => text.startsWith(" *"));
    const [marked = "none"] = /…\d+/.exec(line ?? "") ?? [];
    one.press("g", "j", "j");
    expect(selected(one)).toContain(marked);
    expect(peer.acts).toHaveLength(0);
  });

  test("never act, and Esc forgets them", async () => {
    const { peer, one } = await openJobs();
    one.press("/");
    one.type("kind:render.*");
    one.press("enter", "r", "x");
    expect(one.text()).toContain("nothing is selected");
    one.press("space", "esc");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe("kind:render.*");
    await one.shown("agent.codegen");
    expect(one.text()).not.toContain("marked");
    expect(peer.acts).toHaveLength(0);
  });
});

describe("acting", () => {
  test("on one job asks first, with the server's count, and keeps by default", async () => {
    const { peer, one } = await openJobs();
    one.press("x");
    await one.shown("1 job: 1 ready.");
    expect(peer.acts[0]).toMatchObject({ action: JobAction.CANCEL, dryRun: true });
    one.press("enter");
    expect(one.console.overlay()).toBeUndefined();
    expect(peer.acts).toHaveLength(1);
  });

  test("gives the reason, and says what was done", async () => {
    const { peer, one } = await openJobs();
    one.press("space", "space", "x");
    await one.shown("2 jobs: 1 ready, 1 running.");
    one.press("tab");
    one.type("wrong branch");
    // Enter goes on from a field, and acts only on the button behind it.
    one.press("enter");
    expect(one.text()).toContain(`muster job cancel ${jobId(1)}`);
    expect(one.text()).toContain("--reason 'wrong branch'");
    expect(peer.acts).toHaveLength(1);
    one.press("enter");
    await one.shown("cancelled 2 jobs");
    expect(peer.acts[1]).toMatchObject({ dryRun: false, reason: "wrong branch" });
    expect(peer.acts[1]?.requestId).not.toBe("");
    expect(one.text()).not.toContain("2 marked");
  });

  test("on all that match wants the count typed, and confirms no more than that", async () => {
    const { peer, one } = await openJobs();
    one.press("/");
    one.type("kind:render.*");
    one.press("enter");
    await expect.poll(() => peer.watches.at(-1)?.list?.filterText).toBe("kind:render.*");
    await one.shown("agent.codegen");
    one.press("*", "x");
    await one.shown("Type 10 to confirm");
    one.press("right", "enter");
    expect(peer.acts).toHaveLength(1);
    expect(one.text()).toContain("type 10 first");
    one.press("shift-tab");
    one.type("10");
    one.press("tab");
    expect(one.text()).toContain("--confirm 10");
    one.press("enter");
    await one.shown("cancelled 10 jobs");
    expect(peer.acts[1]).toMatchObject({ confirmed: 10n, jobs: { case: "filter", value: "kind:render.*" } });
  });

  test("says what was skipped, and why", async () => {
    const { peer, one } = await openJobs();
    peer.answer = (matched) => ({
      done: matched.length - 1,
      skipped: 1,
      failures: [
        {
          $typeName: "muster.v1.JobActionFailure",
          jobId: jobId(1),
          reason: "X",
          message: "it is \u001b[2Jgone",
        },
      ],
    });
    one.press("space", "space", "x");
    await one.shown("1 job of them skipped: it is ␛[2Jgone");
    one.press("right", "enter");
    await one.shown("cancelled 1 job, 1 skipped: it is ␛[2Jgone");
  });

  test("mildly is done at once, and undone by u", async () => {
    const { peer, one } = await openJobs();
    one.press("+");
    await one.shown("priority high");
    expect(peer.updates[0]).toMatchObject({ jobId: jobId(1), priority: 192 });
    one.press("u");
    await expect.poll(() => peer.updates[1]?.priority).toBe(128);
  });
});

describe("submitting", () => {
  test("checks the form, shows the equal command, and sends it once", async () => {
    const { peer, one } = await openJobs();
    one.press("c");
    one.press("ctrl-s");
    await one.shown("needs a kind");
    one.type("shell.run");
    one.press("tab");
    one.type("{bad");
    one.press("ctrl-s");
    await one.shown(/JSON/);
    one.press("ctrl-u");
    one.console.paste('{"argv":["date"]}\n');
    expect(one.text()).toContain(`muster job submit shell.run --data '{"argv":["date"]}'`);
    one.press("ctrl-s");
    await one.shown("submitted job_");
    expect(peer.submitted).toHaveLength(1);
    expect(peer.submitted[0]?.job?.kind).toBe("shell.run");
  });

  test("loses nothing when the server refuses it, and says at which field", async () => {
    const { peer, one } = await openJobs();
    peer.refuse = makeError(Code.InvalidArgument, "the job is not valid", {
      reason: "INVALID",
      suggestion: "Name a queue.",
      requestId: "req_1",
      violations: [{ field: "job.queue", message: "has a \u001b[2Jbad letter" }],
    });
    one.press("c");
    one.type("shell.run");
    one.press("ctrl-s");
    await one.shown("has a ␛[2Jbad letter");
    expect(one.text()).toContain("[shell.run");
    delete peer.refuse;
    one.press("ctrl-s");
    await one.shown("submitted job_");
    expect(peer.submitted[0]?.idempotencyKey).toBe(peer.submitted[1]?.idempotencyKey);
  });
});

describe("the log", () => {
  test("finds, filters, jumps, and saves what was made safe", async () => {
    const { one } = await openJobs();
    one.press("j", "L");
    await one.shown("frame 324 done");
    expect(one.text()).toContain("▼ following");
    one.press("/");
    one.type("cuda");
    one.press("enter");
    expect(one.text()).toContain('find "cuda" 1 hits');
    one.press("N");
    expect(one.text()).toContain("CUDA out of memory ␛[2J⟨U+202E⟩");
    one.press("&");
    one.type("30");
    one.press("enter");
    expect(one.text()).not.toContain("frame 299");
    expect(one.text()).toContain("frame 301 done");
    one.press("ctrl-s");
    await one.shown("saved to");
    expect(one.written.join("\n")).not.toContain("\u001b");
    one.press("esc");
    expect(one.text()).toContain("3 records missing (slow-reader)");
  });
});
