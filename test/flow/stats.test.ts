import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService, PullRequestState } from "@muster/client/v1/project_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { AttributionBy, StatsDimension, StatsService } from "@muster/client/v1/stats_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readError } from "../../gen/errors.ts";
import { kindRunMs } from "../../server/domain/stats.ts";
import { foldFlushes } from "../../server/maintain/stats.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { testCoordinator } from "../support/database.ts";
import { runCli } from "../tui/run-cli.ts";

let muster: TestServer;
let profiled = "";
const url = "https://github.com/acme/web/pull/7";
const cli = (...argv: string[]) =>
  runCli(argv, { env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key } });

beforeAll(async () => {
  muster = await startTestServer();
  await muster.client(ProjectService).putProject({ project: { name: "acme/web" } });
  await muster.startWorker({
    slots: 4,
    handlers: {
      good: async (ctx) => {
        await ctx.span("db", async () => {
          await Promise.resolve();
          ctx.span("query", () => 1);
          ctx.span("query", () => 2);
        });
        return 1;
      },
      bad: () => {
        throw new Error("no");
      },
      pull: (ctx) => ctx.pullRequest(url),
    },
  });
  const submit = async (kind: string, state: JobState, more: { queue?: string; project?: string } = {}) => {
    const job = { kind, ...more, retry: { maxAttempts: 1 } };
    const { jobId } = await muster.client(JobService).submitJob({ job });
    await muster.reach(jobId, state).catch((error: unknown) => {
      if (state !== JobState.DEAD) throw error;
    });
    return jobId;
  };
  profiled = await submit("good", JobState.SUCCEEDED);
  await submit("good", JobState.SUCCEEDED, { queue: "slow" });
  await submit("bad", JobState.DEAD);
  await submit("pull", JobState.SUCCEEDED, { project: "acme/web" });
  await muster
    .client(ProjectService)
    .setPullRequestState({ url, state: PullRequestState.MERGED, author: "octocat" });
}, 60_000);
afterAll(() => muster?.close());

const stats = () => muster.client(StatsService);

describe("statistics", () => {
  test("count what ended by kind, with a series, and all of it together", async () => {
    const answer = await stats().getStats({ by: StatsDimension.KIND, step: { seconds: 3_600n } });
    const counts = answer.stats.map(({ value, figures }) => [
      ...[value, figures?.attempts, figures?.succeeded, figures?.failed, figures?.dead, figures?.successRate],
    ]);
    expect(counts).toEqual([
      ["good", 2n, 2n, 0n, 0n, 1],
      ["bad", 1n, 0n, 1n, 1n, 0],
      ["pull", 1n, 1n, 0n, 0n, 1],
    ]);
    expect(answer.total?.figures).toMatchObject({ attempts: 4n, succeeded: 3n, successRate: 0.75 });
    const inSeries = answer.stats[0]?.series.reduce((sum, one) => sum + (one.figures?.attempts ?? 0n), 0n);
    expect(inSeries).toBe(2n);
    expect(answer.stats[0]?.figures?.runP95).toBeDefined();
    const inHistogram = answer.total?.waitHistogram.reduce((sum, { count }) => sum + count, 0n);
    expect(inHistogram).toBe(4n);
  });

  test("count by queue, project, worker and owner, and only what is asked for", async () => {
    const by = async (dimension: StatsDimension, values: string[] = []) =>
      (await stats().getStats({ by: dimension, values })).stats.map(({ value, figures }) => [
        ...[value, figures?.attempts],
      ]);
    expect(await by(StatsDimension.QUEUE)).toEqual([
      ["default", 3n],
      ["slow", 1n],
    ]);
    expect(await by(StatsDimension.PROJECT)).toEqual([["acme/web", 1n]]);
    expect(await by(StatsDimension.KIND, ["bad"])).toEqual([["bad", 1n]]);
    const [worker] = (await stats().getStats({ by: StatsDimension.WORKER })).stats;
    expect(worker).toMatchObject({
      value: expect.stringMatching(/^wrk_/),
      name: expect.stringMatching(/^worker-/),
    });
    expect(await by(StatsDimension.WORKER, [worker?.value ?? ""])).toEqual([[worker?.value, 4n]]);
    const owners = await stats().getStats({ by: StatsDimension.OWNER, project: "acme/web" });
    expect(owners.stats.map(({ figures }) => figures?.attempts)).toEqual([1n]);
  });

  test("refuse what makes no sense, all at once", async () => {
    const wrong = { by: StatsDimension.KIND, project: "acme/web", step: { seconds: 1n }, limit: -1 };
    const times = { startTime: { seconds: 20n }, endTime: { seconds: 10n } };
    const error = await stats()
      .getStats({ ...wrong, ...times })
      .catch(readError);
    const fields = "detail" in error ? error.detail?.violations.map(({ field }) => field).sort() : [];
    expect(fields).toEqual(["endTime", "limit", "project", "step"]);
    const far = stats().getStats({ startTime: { seconds: 1n }, step: { seconds: 60n } });
    expect(await far.catch(readError)).toMatchObject({ detail: { reason: "VALIDATION_FAILED" } });
  });

  test.each([
    ["stats", "--since", "2099-01-01"],
    ["stats", "--by", "kind", "--since", "2099-01-01", "--until", "2099-02-01"],
    ["stats", "attribution", "--since", "2099-01-01"],
    ["profile", "--kind", "good", "--since", "2099-01-01"],
    ["stats", "--until", "2099-01-01"],
  ])("refuse a time that has not begun: %s %s %s %s %s %s %s", async (...argv) => {
    const { stdout, stderr, exitCode } = await cli(...argv);
    expect([stdout, exitCode]).toEqual(["", 2]);
    const field = argv.includes("--since") ? "startTime" : "endTime";
    expect(stderr).toMatch(
      new RegExp(`${field}.*must not lie ahead: the statistics would begin at 20\\d\\d-.*; it is now 20`),
    );
  });

  test("tell how long a kind takes, for who wants to know what is slow", async () => {
    const c = testCoordinator(muster.database);
    const { orgId } = await orgOf();
    const known = await kindRunMs(c, orgId, { kind: "good", q: 0.95, windowMs: 3_600_000 });
    expect(known).toMatchObject({ count: 2, ms: expect.any(Number) });
    expect(await kindRunMs(c, orgId, { kind: "other", q: 0.95, windowMs: 3_600_000 })).toBeNull();
  });
});

async function orgOf(): Promise<{ readonly orgId: string }> {
  const [row] = await muster.database.admin`select org_id from muster.jobs limit 1`;
  return { orgId: String(row?.["org_id"]) };
}

describe("attribution", () => {
  test("says who did how much for which project, by owner and by author", async () => {
    const { attributions: owners } = await stats().listAttribution({});
    const total = owners.reduce((sum, { succeeded, failed }) => sum + succeeded + failed, 0n);
    expect(total).toBe(4n);
    const web = owners.find(({ project }) => project === "acme/web");
    expect(web).toMatchObject({ succeeded: 1n, pullRequests: 1n, merged: 1n });
    const { attributions } = await stats().listAttribution({ by: AttributionBy.AUTHOR });
    expect(attributions).toMatchObject([
      { contributor: "octocat", project: "acme/web", succeeded: 1n, pullRequests: 1n, merged: 1n },
    ]);
  });

  test("is paged", async () => {
    const first = await stats().listAttribution({ pageSize: 1 });
    const next = await stats().listAttribution({ pageSize: 1, pageToken: first.nextPageToken });
    expect(first.attributions.length + next.attributions.length).toBe(2);
    expect(next.nextPageToken).toBe("");
    const other = stats().listAttribution({ pageToken: first.nextPageToken, project: "acme/web" });
    expect(await other.catch(readError)).toMatchObject({ detail: { reason: "PAGE_TOKEN_INVALID" } });
  });

  test("is exported as CSV", async () => {
    const { stdout } = await cli("stats", "attribution", "--by", "author", "--csv");
    const [head, row] = stdout.split("\n");
    expect(head).toBe("contributor,project,succeeded,failed,run_seconds,pull_requests,merged");
    expect(row).toMatch(/^octocat,acme\/web,1,0,[\d.]+,1,1$/);
  });
});

describe("a profile", () => {
  test("comes with the attempt, and is summed up by kind", async () => {
    const { attempts } = await muster.client(JobService).listAttempts({ jobId: profiled });
    const spans = attempts[0]?.profile?.spans.map(({ name, parent, count }) => [name, parent, count]);
    expect(spans).toEqual([
      ["db", 0, 1n],
      ["query", 1, 2n],
    ]);
    const before = await stats().getProfile({ kind: "good" });
    const { orgId } = await orgOf();
    await foldFlushes(testCoordinator(muster.database), orgId, AbortSignal.timeout(10_000));
    const { profile, runP95 } = await stats().getProfile({ kind: "good" });
    expect(profile?.spans.length).toBe(before.profile?.spans.length);
    expect(profile?.spans.map(({ name, parent, count }) => [name, parent, count])).toEqual([
      ["db", 0, 2n],
      ["query", 1, 4n],
    ]);
    expect(runP95).toBeDefined();
    expect((await stats().getProfile({ kind: "bad" })).profile?.spans).toEqual([]);
  });

  test("is a tree on the command line", async () => {
    const { stdout, exitCode } = await cli("profile", profiled);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^SPAN\tCOUNT\tFAILED\tTOTAL\tSELF\tSHARE\ndb\t1\t.*\n└─ query\t2\t/);
    const kind = await cli("profile", "--kind", "good", "--json");
    expect(JSON.parse(kind.stdout)).toMatchObject({ profile: { spans: { length: 2 } } });
    expect((await cli("profile")).exitCode).toBe(2);
    expect((await cli("profile", profiled, "--attempt", "9")).exitCode).toBe(2);
  });
});

describe("muster stats", () => {
  test("shows a line a kind and all together, with a sparkline", async () => {
    const { stdout, stderr } = await cli("stats", "--by", "kind");
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => line.split("\t")[0])).toEqual(["OF", "good", "bad", "pull", "all"]);
    expect(lines.at(-1)).toMatch(/^all\t4\t75.0\t1\t1\t.*\t▁*█$/);
    expect(stderr).toContain("a step is");
    const ascii = await cli("stats", "--ascii");
    expect(ascii.stdout).toMatch(/\t_*#\n$/);
  });

  test("shows histograms, and JSON", async () => {
    const { stdout } = await cli("stats", "--by", "kind", "--value", "good", "--histogram");
    expect(stdout).toContain("good: ran");
    expect(stdout).toMatch(/ - .* █+ +\d/);
    const json = await cli("stats", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ total: { figures: { attempts: "4" } } });
    const wrong = await cli("stats", "--by", "kinb");
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("kind");
  });

  test("shows no org what another did", async () => {
    const { OrgService } = await import("@muster/client/v1/org_service");
    const { text } = await muster.client(OrgService).createOrg({ name: "other" });
    const { createMusterClient } = await import("@muster/client/node");
    const other = createMusterClient(StatsService, { address: muster.server.apiAddress, key: text });
    const { total } = await other.getStats({ by: StatsDimension.KIND });
    expect(total?.figures?.attempts).toBe(0n);
    expect((await other.listAttribution({})).attributions).toEqual([]);
    expect((await other.getProfile({ kind: "good" })).profile?.spans).toEqual([]);
  });
});

describe("statistics by schedule", () => {
  test("count what became of the jobs that each made, also when it is deleted and when they are replayed", async () => {
    const schedules = muster.client(ScheduleService);
    const put = (name: string, kind: string) =>
      schedules.putSchedule({
        schedule: { name, cron: "0 4 1 1 *", job: { kind, retry: { maxAttempts: 1 } } },
        allowMissing: true,
      });
    const fire = async (name: string, state: JobState) => {
      const { fire: made } = await schedules.triggerSchedule({ name });
      await muster.reach(made?.jobId ?? "", state).catch((error: unknown) => {
        if (state !== JobState.DEAD) throw error;
      });
      return made?.jobId ?? "";
    };
    await put("nightly", "good");
    await put("weekly", "good");
    await fire("weekly", JobState.SUCCEEDED);
    await fire("nightly", JobState.SUCCEEDED);
    await fire("nightly", JobState.SUCCEEDED);
    await put("nightly", "bad");
    const dead = await fire("nightly", JobState.DEAD);
    const asked = { by: StatsDimension.SCHEDULE, values: ["nightly"] };
    const counted = { value: "nightly", figures: { attempts: 3n, succeeded: 2n, failed: 1n, dead: 1n } };
    const replayed = { value: "nightly", figures: { attempts: 4n, succeeded: 2n, failed: 2n, dead: 2n } };
    const { stats: of, total } = await stats().getStats(asked);
    expect(of).toMatchObject([counted]);
    expect([total?.figures?.waitP50, total?.figures?.waitP99, total?.figures?.runP50]).not.toContain(
      undefined,
    );
    await schedules.deleteSchedule({ name: "nightly" });
    // The run that follows a dead one is of the same schedule.
    await muster.client(JobService).retryJob({ jobId: dead });
    await expect.poll(async () => (await stats().getStats(asked)).stats[0]?.figures?.failed).toBe(2n);
    const { admin } = muster.database;
    await admin`delete from muster.schedule_fires`;
    const { orgId } = await orgOf();
    await foldFlushes(testCoordinator(muster.database), orgId, AbortSignal.timeout(10_000));
    expect((await stats().getStats(asked)).stats).toMatchObject([replayed]);
    const rows =
      await admin`select value, sum(succeeded)::int as n from muster.stats where dimension = 7 group by 1 order by 1`;
    expect(rows.map((row) => [row["value"], row["n"]])).toEqual([
      ["nightly", 2],
      ["weekly", 1],
    ]);
  });
});
