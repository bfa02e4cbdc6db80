import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { ListAuditEntriesRequestSchema } from "@muster/client/v1/audit_service";
import { ActOnJobsRequestSchema, JobAction, ListJobsRequestSchema } from "@muster/client/v1/job_service";
import {
  CreateKeyRequestSchema,
  ListKeysRequestSchema,
  RevokeKeyRequestSchema,
} from "@muster/client/v1/key_service";
import { ListLeasesRequestSchema, RevokeLeaseRequestSchema } from "@muster/client/v1/lease_service";
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
import {
  ArchiveSessionRequestSchema,
  SetPrimarySessionRequestSchema,
  UnarchiveSessionRequestSchema,
} from "@muster/client/v1/session_service";
import { CheckServerRequestSchema } from "@muster/client/v1/system_service";
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

describe("dead letters", () => {
  test("of a group are retried at once with the server's count", async () => {
    const { one, peer } = await open("dlq", "index.repo");
    one.press("r", "enter");
    await one.shown("Type 2 to confirm");
    expect(one.text()).toContain("muster dlq retry --group 7f3a01");
    one.press("tab", "tab");
    one.type("2");
    one.press("tab");
    yes(one);
    await one.shown("retried 2 jobs");
    expect(peer.requests(ActOnJobsRequestSchema)).toMatchObject([
      { dryRun: true, action: JobAction.RETRY },
      { dryRun: false, jobs: { case: "filter", value: "fingerprint:7f3a01 kind:index.repo" } },
    ]);
  });

  test("of a group are retried at a rate, page by page", async () => {
    const { one, peer } = await open("dlq", "index.repo");
    one.press("r", "down", "down", "down", "enter");
    await one.shown("Type 2 to confirm");
    one.press("tab", "tab");
    one.type("2");
    one.press("tab");
    expect(one.text()).toContain("--rate 10/1s");
    yes(one);
    await one.shown("retried 2 jobs");
    expect(peer.requests(ListJobsRequestSchema)).toMatchObject([
      { pageSize: 10, pageToken: "" },
      { pageSize: 10, pageToken: "more" },
    ]);
    expect(peer.requests(ActOnJobsRequestSchema).filter(({ jobs }) => jobs.case === "ids")).toHaveLength(2);
  });

  test("are discarded by their count, exported, and lead to their jobs", async () => {
    const { one, peer } = await open("dlq", "index.repo");
    one.press("x");
    await one.shown("Type 2 to confirm");
    expect(one.text()).toContain("muster dlq discard --group 7f3a01");
    one.press("esc", "ctrl-s");
    await one.shown("saved to");
    expect(one.written.filter((line) => line.includes("7f3a01"))).toHaveLength(1);
    expect(one.written.join("")).not.toContain("7f3a02");
    one.press("enter");
    await expect
      .poll(() => peer.requests(WatchJobsRequestSchema).at(-1)?.list?.filterText)
      .toBe("fingerprint:7f3a01 kind:index.repo");
  });
});

describe("leases, sessions and batches", () => {
  test("a lease is revoked after a question that tells of the risk", async () => {
    const { one, peer } = await open("leases", "at risk");
    one.press("x");
    await one.shown("and then runs twice");
    yes(one);
    await one.shown("is ready again");
    expect(peer.requests(RevokeLeaseRequestSchema)[0]?.requestId).not.toBe("");
  });

  test("leases are filtered by terms; a mistake is told with its place", async () => {
    const { one, peer } = await open("leases", "at risk");
    one.press("/");
    one.type("risk:yes worker:gpu-1");
    one.press("enter");
    await expect
      .poll(() => peer.requests(ListLeasesRequestSchema).at(-1))
      .toMatchObject({ atRisk: true, worker: "gpu-1" });
    expect(one.console.screen().command()).toBe("muster lease list --worker gpu-1 --at-risk");
    one.press("/", "ctrl-u");
    one.type("risk:yes wroker:x");
    one.press("enter");
    await one.shown('there is no term "wroker" at position 10. Did you mean worker?');
  });

  test("a session is made primary, archived after a count, and unarchived", async () => {
    const { one, peer } = await open("sessions", "review");
    one.press("p");
    expect(one.text()).toContain("it is the primary one");
    one.press("j", "p");
    await one.shown("review is the primary session of acme/web");
    one.press("a");
    await one.shown("2 jobs that name it wait.");
    yes(one);
    await one.shown("archived review");
    one.press("u");
    await one.shown("review can be used again");
    expect(peer.requests(SetPrimarySessionRequestSchema)).toHaveLength(1);
    expect(peer.requests(ArchiveSessionRequestSchema)).toHaveLength(1);
    expect(peer.requests(UnarchiveSessionRequestSchema)).toHaveLength(1);
  });

  test("a batch is cancelled by its count, unless all of it has ended", async () => {
    const { one, peer } = await open("batches", "film");
    one.press("x");
    await one.shown("Type 2 to confirm");
    expect(one.text()).toContain("muster batch cancel bat_01jd9y3f4k8qkx2m0000000001");
    one.press("esc", "j", "x");
    expect(one.text()).toContain("all its jobs have ended");
    expect(peer.requests(ActOnJobsRequestSchema)[0]?.jobs.value).toContain(
      "batch:bat_01jd9y3f4k8qkx2m0000000001",
    );
  });
});

describe("audit, keys, system and contexts", () => {
  test("the audit log is asked by actor, action, target and time", async () => {
    const { one, peer } = await open("audit", "key.create");
    one.press("/");
    one.type("actor:me action:job. since:2h");
    one.press("enter");
    await expect
      .poll(() => peer.requests(ListAuditEntriesRequestSchema).at(-1))
      .toMatchObject({ actor: "me", action: "job." });
    const since = peer.requests(ListAuditEntriesRequestSchema).at(-1)?.since;
    expect(Number(since?.seconds) * 1000).toBe(sampleMs - 7_200_000);
    expect(one.console.screen().command()).toBe("muster audit list --mine --action job. --since 2h");
  });

  test("an entry leads to what was changed", async () => {
    const { one } = await open("audit", "key.create");
    one.press("j", "o");
    expect(one.console.screen().id).toBe("worker");
    one.press("q", "j", "o");
    expect(one.text()).toContain("it has no screen");
  });

  test("a key's text is shown once, copied by y, and lost by Esc alone", async () => {
    const { one, peer } = await open("keys", "submit read");
    one.press("c");
    one.type("ci");
    one.press("tab");
    one.type(" supmit");
    one.press("ctrl-s");
    await one.shown('there is no scope "supmit"');
    one.press("ctrl-u");
    one.type("submit,read");
    one.press("ctrl-s");
    await one.shown("mk_api_4fQz81aB9xYw_secret");
    one.press("q", "enter", "j");
    expect(one.text()).toContain("mk_api_4fQz81aB9xYw_secret");
    one.press("y");
    const text = Buffer.from("mk_api_4fQz81aB9xYw_secret").toString("base64");
    expect(one.written.at(-1)).toContain(text);
    one.press("esc");
    expect(one.text()).not.toContain("secret");
    expect(peer.requests(CreateKeyRequestSchema)).toMatchObject([{ name: "ci", scopes: ["submit", "read"] }]);
  });

  test("a key is revoked by its name", async () => {
    const { one, peer } = await open("keys", "submit read");
    one.press("x", "tab", "tab");
    one.type("ci");
    one.press("tab");
    yes(one);
    await one.shown("revoked ci");
    expect(peer.requests(RevokeKeyRequestSchema)).toMatchObject([{ keyId: "4fQz81aB9xYw" }]);
  });

  test("what the key at hand may not see is said, and the console lives on", async () => {
    const peer = makeNounsPeer();
    peer.refuse.set(
      ListKeysRequestSchema,
      new ConnectError("the key needs scope admin", Code.PermissionDenied),
    );
    const one = stage({ routes: peer.routes, settings: { view: "keys" }, columns: 110, rows: 30 });
    stages.push(one);
    await one.shown("the key needs scope admin");
    expect(one.text()).not.toContain("Reconnecting");
  });

  test("the checks of the system are made again by t", async () => {
    const { one, peer } = await open("system", "Free some space.");
    one.press("t");
    await expect
      .poll(() => {
        one.text();
        return peer.requests(CheckServerRequestSchema).length;
      })
      .toBe(2);
    await one.shown("Free some space.");
  });

  test("another context is gone to, the present one is not", async () => {
    const used: string[] = [];
    const entry = (name: string, isCurrent: boolean) => ({
      name,
      address: `http://${name}:7070`,
      source: "config.yaml",
      isCurrent,
    });
    const contexts = {
      list: () => [entry("prod", true), entry("staging", false)],
      use: (name: string) => void used.push(name),
    };
    const { one } = await open("contexts", "staging", { views: createViews({ contexts }) });
    one.press("enter");
    expect(one.text()).toContain("this is prod");
    one.press("j", "enter");
    expect(used).toEqual(["staging"]);
  });
});
