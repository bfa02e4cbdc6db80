import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  DeleteProjectRequestSchema,
  PutProjectRequestSchema,
  SetPullRequestStateRequestSchema,
} from "@muster/client/v1/project_service";
import {
  PauseQueueRequestSchema,
  QueueType,
  ResumeQueueRequestSchema,
  SetQueueLimitsRequestSchema,
} from "@muster/client/v1/queue_service";
import { WatchJobsRequestSchema } from "@muster/client/v1/watch_service";
import {
  DisableWorkerRequestSchema,
  DrainWorkerRequestSchema,
  EnableWorkerRequestSchema,
  RemoveWorkerRequestSchema,
  ResumeWorkerRequestSchema,
} from "@muster/client/v1/worker_admin_service";
import { afterEach, describe, expect, test } from "vitest";
import { createViews } from "../../../tui/top/screens/views.ts";
import type { Keeper } from "../../../tui/top/store/snoozes.ts";
import { makeNounsPeer, type NounsPeer } from "./nouns-peer.ts";
import { sampleMs } from "./sample.ts";
import { type Stage, type StageOptions, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

async function open(
  view: string,
  wanted: string,
  options: StageOptions = {},
): Promise<{ one: Stage; peer: NounsPeer }> {
  const peer = makeNounsPeer();
  const one = stage({ routes: peer.routes, settings: { view }, columns: 110, rows: 30, ...options });
  stages.push(one);
  await one.shown("1 coordinator");
  await one.shown("live");
  await one.shown(wanted);
  return { one, peer };
}

/** Says yes in a dialog. */
const yes = (one: Stage): void => one.press("right", "enter");

describe("workers", () => {
  test("are drained after a question, with the reason; Enter alone keeps them as they are", async () => {
    const { one, peer } = await open("workers", "gpu-2");
    one.press("j", "j", "d");
    await one.shown("Drain gpu-2?");
    one.press("enter");
    expect(one.console.overlay()).toBeUndefined();
    one.press("d", "tab");
    one.type("new disk");
    one.press("tab");
    expect(one.text()).toContain("muster worker drain gpu-2 --reason 'new disk'");
    yes(one);
    await one.shown("gpu-2 is being drained");
    expect(peer.requests(DrainWorkerRequestSchema)).toMatchObject([{ reason: "new disk" }]);
  });

  test("take work again at once, which can be undone", async () => {
    const { one, peer } = await open("workers", "lin-11");
    one.press("j", "j", "j", "r");
    await one.shown("lin-11 takes work again");
    one.press("u");
    await expect.poll(() => peer.requests(DrainWorkerRequestSchema)).toHaveLength(1);
    expect(peer.requests(ResumeWorkerRequestSchema)).toHaveLength(1);
  });

  test("are disabled and enabled by the same key", async () => {
    const { one, peer } = await open("workers", "shut");
    one.press("G", "p");
    await one.shown("shut may attach again");
    expect(peer.requests(EnableWorkerRequestSchema)).toHaveLength(1);
    one.press("j", "g", "j", "p");
    await one.shown("Disable gpu-1?");
    await one.shown("2 leases of it taken back as lost.");
    yes(one);
    await one.shown("gpu-1 is disabled");
    expect(peer.requests(DisableWorkerRequestSchema)).toHaveLength(1);
  });

  test("are removed when their name is typed, and not while they hold something", async () => {
    const { one, peer } = await open("workers", "old");
    one.press("j", "x");
    expect(one.text()).toContain("it holds 2 leases");
    one.press("G", "k", "x");
    await one.shown("Type old to confirm");
    yes(one);
    expect(one.text()).toContain("type old first");
    one.press("shift-tab");
    one.type("old");
    one.press("tab");
    yes(one);
    await one.shown("removed old");
    expect(peer.requests(RemoveWorkerRequestSchema)).toHaveLength(1);
  });

  test("lead to their jobs", async () => {
    const { one, peer } = await open("workers", "gpu-2");
    one.press("j", "o", "enter");
    await expect
      .poll(() => peer.requests(WatchJobsRequestSchema).at(-1)?.list?.filterText)
      .toBe("worker:gpu-1");
    expect(one.console.screen().id).toBe("jobs");
  });
});

describe("attention", () => {
  test("goes to what is wrong, and asks why", async () => {
    const { one } = await open("attention", "mac-07");
    one.press("w");
    await one.shown("It waits for a worker with skill blender");
    one.press("q", "j", "enter");
    await one.shown("it lost 3 jobs in 10m (2m00s ago)");
    expect(one.console.screen().id).toBe("worker");
  });

  test("applies the fixes that are actions of ours", async () => {
    const { one, peer } = await open("attention", "mac-07");
    one.press("a");
    expect(one.text()).toContain("its fix is not one that the console can make");
    one.press("j", "a");
    await one.shown("mac-07 takes work again");
    one.press("j", "j", "a");
    await one.shown("Cap of project acme/web");
    one.press("esc", "j", "a");
    await one.shown("slow goes on");
    expect(peer.requests(ResumeQueueRequestSchema)).toMatchObject([{ type: QueueType.QUEUE, name: "slow" }]);
    expect(peer.requests(ResumeWorkerRequestSchema)).toHaveLength(1);
  });

  test("snoozes for an hour, over a restart, and no longer", async () => {
    let kept = "";
    const keeper: Keeper = {
      read: () => kept,
      write: (text) => {
        kept = text;
      },
    };
    const { one } = await open("attention", "mac-07", { views: createViews({ snoozes: keeper }) });
    one.press("j", "z");
    await one.shown("1 snoozed");
    await one.shown("4 problems");
    one.press("u");
    await one.shown("5 problems");
    one.press("z");
    await one.shown("4 problems");
    const again = await open("attention", "4 problems", { views: createViews({ snoozes: keeper }) });
    again.one.press("Z");
    await again.one.shown("(snoozed) Worker mac-07");
    again.one.clock.nowMs = sampleMs + 3_600_001;
    again.one.press("ctrl-r");
    await again.one.shown("5 problems");
    kept = "{ not JSON";
    await open("attention", "5 problems", { views: createViews({ snoozes: keeper }) });
  });
});

describe("queues", () => {
  test("are paused by a form, until a time", async () => {
    const { one, peer } = await open("queues", "renders");
    one.press("p");
    one.type("2x");
    one.press("ctrl-s");
    await one.shown("is not a duration");
    one.press("backspace");
    one.type("h");
    one.press("tab");
    one.type("bad deploy");
    expect(one.text()).toContain("muster queue pause default --for 2h --reason 'bad deploy'");
    one.press("ctrl-s");
    await one.shown("default is paused, 2 offers withdrawn");
    const [request] = peer.requests(PauseQueueRequestSchema);
    expect(request).toMatchObject({ name: "default", reason: "bad deploy" });
    expect(Number(request?.until?.seconds) * 1000).toBe(sampleMs + 7_200_000);
  });

  test("get limits by a form; what the server refuses is shown at its field, and nothing is lost", async () => {
    const { one, peer } = await open("queues", "renders");
    peer.refuse.set(
      SetQueueLimitsRequestSchema,
      makeError(Code.InvalidArgument, "the limits are not valid", {
        reason: "INVALID",
        suggestion: "",
        requestId: "req_1",
        violations: [{ field: "limits.running", message: "is too \u001b[2Jmuch" }],
      }),
    );
    one.press("j", "j", "e");
    one.press("backspace");
    one.type("20");
    one.press("tab", "ctrl-u");
    expect(one.text()).toContain("muster queue set renders --running 20 --rate none");
    one.press("ctrl-s");
    await one.shown("is too ␛[2Jmuch");
    peer.refuse.clear();
    one.press("ctrl-s");
    await one.shown("the limits of renders are set");
    expect(peer.requests(SetQueueLimitsRequestSchema).at(-1)).toMatchObject({
      name: "renders",
      limits: { running: 20 },
    });
    one.press("u");
    await one.shown("are as before");
    expect(peer.requests(SetQueueLimitsRequestSchema).at(-1)?.limits?.startRate?.jobs).toBe(10);
  });

  test("have tabs for kinds and pools, and lead to their jobs", async () => {
    const { one, peer } = await open("queues", "renders");
    one.press("]", "]");
    await one.shown("acme-api");
    one.press("enter");
    await expect
      .poll(() => peer.requests(WatchJobsRequestSchema).at(-1)?.list?.filterText)
      .toBe("pool:acme-api");
  });
});

describe("projects", () => {
  test("get another cap and keep their repository; the cap of before comes back", async () => {
    const { one, peer } = await open("projects", "acme/web");
    one.press("j", "e", "backspace");
    one.type("8");
    expect(one.text()).toContain("muster project set-cap acme/web 8");
    one.press("ctrl-s");
    await one.shown("acme/web may have 8 open pull requests");
    one.press("u");
    await expect.poll(() => peer.requests(PutProjectRequestSchema)).toHaveLength(2);
    expect(peer.requests(PutProjectRequestSchema).map(({ project }) => project)).toMatchObject([
      { name: "acme/web", maxOpenPrs: 8, repository: "acme/web" },
      { name: "acme/web", maxOpenPrs: 5, repository: "acme/web" },
    ]);
  });

  test("are created by a form and deleted by their name", async () => {
    const { one, peer } = await open("projects", "acme/web");
    one.press("c", "ctrl-s");
    await one.shown("needs a name");
    one.type("acme/new");
    one.press("ctrl-s");
    await one.shown("created acme/new");
    one.press("x", "tab", "tab");
    one.type("acme/docs");
    one.press("tab");
    yes(one);
    await one.shown("deleted acme/docs; 14 jobs of it have not ended");
    expect(peer.requests(DeleteProjectRequestSchema)).toMatchObject([{ name: "acme/docs" }]);
  });

  test("let it be said where a pull request stands", async () => {
    const { one, peer } = await open("projects", "acme/web");
    await one.shown("https://github");
    one.press("p", "enter");
    await one.shown("pull/7 is merged");
    expect(peer.requests(SetPullRequestStateRequestSchema)).toHaveLength(1);
  });
});
