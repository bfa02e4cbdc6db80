import { create } from "@bufbuild/protobuf";
import { ProjectSchema, PullRequestSchema, PullRequestState } from "@muster/client/v1/project_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: { env: Record<string, string> };
beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
});
afterEach(() => peer.close());

const run = (line: string) => runCli(line.split(" "), input);
const url = "https://github.com/acme/web/pull/7";

function addPull(
  change: Partial<{ url: string; state: PullRequestState; counted: boolean; project: string }> = {},
) {
  const pull = create(PullRequestSchema, {
    url,
    project: "acme/web",
    jobId: "job_1",
    state: PullRequestState.OPEN,
    counted: true,
    ...change,
  });
  peer.pullRequests.set(pull.url, pull);
}

describe("muster project", () => {
  test("create makes it, and put is its other name", async () => {
    const made = await run("project create acme/web --max-open-prs 5");
    expect(made).toMatchObject({ exitCode: 0 });
    expect(made.stdout).toBe("PROJECT\tOPEN PRS\tMAX OPEN PRS\tLEASED\tREPOSITORY\nacme/web\t0\t5\t0\t-\n");
    await run("project put docs --repository acme/docs");
    expect(peer.projects.get("docs")).toMatchObject({ repository: "acme/docs" });
    const list = await run("project list");
    expect(list.stdout.split("\n").slice(1)).toEqual([
      "acme/web\t0\t5\t0\t-",
      "docs\t0\t-\t-\tacme/docs",
      "",
    ]);
    expect((await run("project list -o name")).stdout).toBe("acme/web\ndocs\n");
  });

  test("refuses a cap of 0 with the advice to pause a queue, before it calls anybody", async () => {
    for (const line of ["project create acme/web --max-open-prs 0", "project set-cap acme/web 0"]) {
      const refused = await run(line);
      expect(refused.exitCode).toBe(2);
      expect(refused.stderr).toContain("muster queue pause");
    }
    expect(peer.calls).toEqual([]);
  });

  test("set-cap changes the cap and nothing else", async () => {
    await run("project create docs --repository acme/docs --max-open-prs 5");
    expect((await run("project set-cap docs 8")).exitCode).toBe(0);
    expect(peer.projects.get("docs")).toMatchObject({ maxOpenPrs: 8, repository: "acme/docs" });
    await run("project set-cap docs --none");
    expect(peer.projects.get("docs")?.maxOpenPrs).toBeUndefined();
    for (const line of [
      "project set-cap docs",
      "project set-cap docs 3 --none",
      "project set-cap docs many",
    ]) {
      expect((await run(line)).exitCode).toBe(2);
    }
  });

  test("get shows what is open and what may come", async () => {
    peer.projects.set(
      "acme/web",
      create(ProjectSchema, {
        name: "acme/web",
        maxOpenPrs: 5,
        openPrs: 2,
        leased: 1,
        repository: "acme/web\u001b[1m",
      }),
    );
    const { stdout } = await run("project get acme/web");
    expect(stdout.split("\n")).toEqual([
      "project\tacme/web",
      "repository\tacme/web␛[1m",
      "open\t2 of 5 pull requests",
      "leased\t1 job may open one more each",
      "free\t2 jobs can start",
      "",
    ]);
    const none = await run("project get nothing");
    expect(none.exitCode).toBe(3);
    expect(none.stderr).toContain("PROJECT_NOT_FOUND");
  });

  test("delete says what it leaves", async () => {
    await run("project create acme/web");
    peer.waitingJobs = 3;
    const deleted = await runCli(["project", "delete", "acme/web", "--reason", "archived"], input);
    expect(deleted).toMatchObject({ exitCode: 0, stdout: "acme/web\tdeleted\n" });
    expect(deleted.stderr).toContain("3 jobs of it have not ended.");
    expect(peer.projects.size).toBe(0);
  });

  test("prs lists pull requests, of a project and in a state", async () => {
    addPull();
    addPull({ url: url.replace("7", "8"), state: PullRequestState.MERGED, counted: false });
    addPull({ url: url.replace("web", "docs"), project: "docs" });
    const { stdout } = await run("project prs acme/web");
    expect(stdout.split("\n")).toEqual([
      "PULL REQUEST\tSTATE\tPROJECT\tNAMED\tCHANGED\tJOB",
      `${url}\topen\tacme/web\t-\t-\tjob_1`,
      `${url.replace("7", "8")}\tmerged, not counted\tacme/web\t-\t-\tjob_1`,
      "",
    ]);
    expect((await run("project prs --state merged -o name")).stdout).toBe(`${url.replace("7", "8")}\n`);
    const wrong = await run("project prs --state closd");
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("Did you mean closed?");
  });

  test("pr close, merge and reopen say where one stands", async () => {
    addPull();
    expect(await run(`project pr close ${url}`)).toMatchObject({ exitCode: 0, stdout: `${url}\tclosed\n` });
    expect((await run(`project pr merge ${url}`)).stdout).toBe(`${url}\tmerged\n`);
    expect((await run(`project pr reopen ${url} --json`)).stdout).toContain(
      '"state":"PULL_REQUEST_STATE_OPEN"',
    );
    const part = await run(`project pr close ${url} https://github.com/acme/web/pull/9`);
    expect(part.exitCode).toBe(12);
    expect(part.stderr).toContain("PULL_REQUEST_NOT_FOUND");
  });

  test("webhook shows what to enter at GitHub", async () => {
    const { stdout } = await run("project webhook");
    expect(stdout).toBe(`url\t${peer.address}/webhooks/github/org_1\nsecret\tf00d\nevents\tpull_request\n`);
  });

  test("sync submits the job that asks GitHub, for a project or for all", async () => {
    const { stdout } = await run("project sync acme/web");
    const [request] = peer.submitted;
    expect(request?.job).toMatchObject({
      kind: "github.sync",
      title: "GitHub sync of acme/web",
      project: "",
    });
    const { content } = request?.job?.payload ?? {};
    expect(content?.case === "data" && Buffer.from(content.value).toString()).toBe('{"project":"acme/web"}');
    expect(stdout.trim()).toBe([...peer.jobs.keys()][0]);
    await run("project sync");
    const all = peer.submitted[1]?.job?.payload?.content;
    expect(all?.case === "data" && Buffer.from(all.value).toString()).toBe("{}");
  });
});
