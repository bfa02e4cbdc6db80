import { ActOnJobsRequestSchema, JobAction, ListJobsRequestSchema } from "@muster/client/v1/job_service";
import { ListLeasesRequestSchema, RevokeLeaseRequestSchema } from "@muster/client/v1/lease_service";
import {
  ArchiveSessionRequestSchema,
  SetPrimarySessionRequestSchema,
  UnarchiveSessionRequestSchema,
} from "@muster/client/v1/session_service";
import { WatchJobsRequestSchema } from "@muster/client/v1/watch_service";
import { afterEach, describe, expect, test } from "vitest";
import { makeNounsPeer, type NounsPeer } from "./nouns-peer.ts";
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
