import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { QueueSchema, QueueType } from "@muster/client/v1/queue_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  directory = makeDirectory();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key }, cwd: directory.path };
});

afterEach(async () => {
  await peer.close();
  directory.remove();
});

const run = (...words: string[]) => runCli(words, input);
const kept = (type: QueueType, name: string) => peer.queues.get(`${type}:${name}`);

describe("queue", () => {
  test("list and get show counts, limits and why one is paused, safely", async () => {
    const nowMs = Date.now();
    const renders = create(QueueSchema, {
      type: QueueType.QUEUE,
      name: "renders",
      paused: true,
      pauseReason: "bad\u001b[31m deploy",
      pauseTime: timestampFromMs(nowMs - 60_000),
      limits: { running: 20, startRate: { jobs: 10, per: durationFromMs(60_000) } },
      leased: 3,
      counts: {
        ready: 3204n,
        scheduled: 2n,
        parked: 1n,
        running: 3n,
        submitted: 5000n,
        succeeded: 1700n,
        dead: 90n,
      },
      oldestReadyTime: timestampFromMs(nowMs - 125_000),
    });
    peer.queues.set("1:renders", renders);
    peer.queues.set("1:default", create(QueueSchema, { type: QueueType.QUEUE, name: "default", counts: {} }));
    const list = await run("queue", "list");
    const [titles, first, second] = list.stdout.split("\n");
    expect(titles).toBe("QUEUE\tSTATE\tREADY\tWAITING\tOLDEST\tLEASED\tLIMIT\tRATE\tWHY");
    expect(first).toMatch(/^renders\tPAUSED\t3,204\t3\t2m0\ds\t3\t20\t10\/1m00s\tbad␛\[31m deploy$/);
    expect(second).toBe("default\tOPEN\t0\t0\t-\t0\t-\t-\t");
    const get = await run("queue", "get", "renders");
    expect(get.stdout).toContain("queue\trenders\nstate\tPAUSED\nwhy\tbad␛[31m deploy\n");
    expect(get.stdout).toContain("resumes\twhen it is resumed\n");
    expect(get.stdout).toContain("ready\t3,204\n");
    expect(get.stdout).toContain("ended\t1,790 (0 in 60s)\n");
    expect((await run("queue", "get", "renders", "-o", "name")).stdout).toBe("renders\n");
    expect(JSON.parse((await run("queues", "ls", "-o", "json")).stdout).queues).toHaveLength(2);
    expect((await run("queue", "get", "nobody")).exitCode).toBe(3);
  });

  test("set changes what is named and keeps the rest", async () => {
    const first = await run("queue", "set", "renders", "--running", "20");
    expect(first.stdout).toContain("limit\t20\n");
    await run("queue", "set", "renders", "--rate", "10/1m");
    expect(kept(QueueType.QUEUE, "renders")?.limits).toMatchObject({
      ...{ running: 20, startRate: { jobs: 10, per: { seconds: 60n } } },
    });
    await run("queue", "set", "renders", "--running", "none");
    const { limits } = kept(QueueType.QUEUE, "renders") ?? {};
    expect([limits?.running, limits?.startRate?.jobs]).toEqual([undefined, 10]);
    const last = await run("queue", "set", "renders", "--rate", "none");
    expect(last.stdout).toContain("limit\t-\nrate\t-\n");
  });

  test.each([
    [["queue", "set", "q"], "give --running, --rate, or both"],
    [["queue", "set", "q", "--running", "0"], "whole number from 1 to 1000000"],
    [["queue", "set", "q", "--running", "-1"], "whole number from 1 to 1000000"],
    [["queue", "set", "q", "--rate", "10"], "is not a rate"],
    [["queue", "pause", "q", "--for", "2h", "--until", "in 2h"], "give --until or --for, not both"],
    [["queue", "pause", "q", "--for", "0"], "longer than nothing"],
    [["queue", "pause", "q", "--until", "tomorrow"], "is not a time"],
    [["queue", "pause"], "missing required argument"],
  ])("%j is refused before anything is sent", async (words, message) => {
    const ran = await run(...words);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(message);
    expect(peer.queues.size).toBe(0);
  });

  test("pause and resume take several names, and say what became of each", async () => {
    const paused = await run("queue", "pause", "a", "b", "--reason", "heat", "--for", "2h");
    expect(paused.stdout).toMatch(
      /^a\tpaused until \S+Z \(in (2h00m|1h59m)\): heat; 2 offers withdrawn\nb\tpaused until /,
    );
    const resumeMs = Number(kept(QueueType.QUEUE, "a")?.resumeTime?.seconds ?? 0n) * 1_000;
    expect(Math.abs(resumeMs - Date.now() - 7_200_000)).toBeLessThan(60_000);
    const resumed = await run("queue", "resume", "a", "nobody", "b");
    expect(resumed.stdout).toBe("a\tresumed\nb\tresumed\n");
    expect(resumed.exitCode).toBe(12);
    const forever = await run("queue", "pause", "a", "-o", "jsonl");
    expect(JSON.parse(forever.stdout)).toMatchObject({ queue: { paused: true }, withdrawn: 2 });
  });
});

describe("kind and pool", () => {
  test("are set and paused apart from queues, without counts", async () => {
    await run("kind", "set", "agent.prompt", "--running", "3");
    await run("pool", "pause", "acme-api", "--reason", "quota");
    expect(kept(QueueType.KIND, "agent.prompt")?.limits).toMatchObject({ running: 3 });
    expect(kept(QueueType.POOL, "acme-api")?.paused).toBe(true);
    expect((await run("kind", "list")).stdout).toBe(
      "KIND\tSTATE\tSERVED BY\t24H\tOK %\tDEAD\tP95\tLEASED\tLIMIT\tRATE\tWHY\n" +
        "agent.prompt\tOPEN\t-\t-\t-\t-\t-\t0\t3\t-\t\n",
    );
    expect((await run("pool", "list")).stdout.split("\n")[1]).toBe("acme-api\tPAUSED\t0\t-\t-\tquota");
    expect((await run("pool", "resume", "acme-api")).stdout).toBe("acme-api\tresumed\n");
    expect((await run("queue", "list")).stderr).toContain("No queues.");
  });
});
