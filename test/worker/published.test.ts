import { SessionState } from "@muster/client/v1/session";
import { describe, expect, test } from "vitest";
import { linksOf, type OwnSession, type PublishConflict } from "../../worker/published.ts";
import { WorkerPeerApi } from "../support/worker-api.ts";
import { WorkerBench } from "../support/worker-bench.ts";

const sessions: OwnSession[] = [
  { id: "s", agent: "codex", agentSessionId: "a", primary: true, project: "p" },
];
const linkedProjects = [{ project: "p", root: "/src/p", remoteUrl: "git@example.com:p" }];

test("a publication says all that is given, and nothing of times that are none", () => {
  const { sessions: said, linkedProjects: linked } = linksOf({
    linkedProjects: [{ project: "p", root: "/", linkedAt: new Date(1_000), linkedBy: "me" }],
    sessions: [{ id: "s", state: "busy", activeAt: new Date(Number.NaN), archived: true }],
  });
  expect(linked).toMatchObject([{ project: "p", linkedBy: "me", linkTime: { seconds: 1n } }]);
  expect(said).toMatchObject([{ sessionId: "s", state: SessionState.BUSY, archived: true, primary: false }]);
  expect(said[0]?.activeTime).toBeUndefined();
});

describe.each([
  ["a stream", "stream", false],
  ["the twins over gRPC", "poll", false],
  ["the twins over Connect", "poll", true],
] as const)("what a worker publishes over %s", (_name, transport, isApi) => {
  async function open(options: Parameters<WorkerBench["worker"]>[0] = {}) {
    const bench = await WorkerBench.open();
    const api = await WorkerPeerApi.start(bench.peer);
    const address = isApi ? api.address : bench.peer.address;
    const worker = bench.worker({ address, apiAddress: api.address, transport, ...options });
    return {
      bench,
      peer: bench.peer,
      worker,
      async [Symbol.asyncDispose]() {
        await worker.stop({ graceMs: 0 });
        await api[Symbol.asyncDispose]();
        await bench[Symbol.asyncDispose]();
      },
    };
  }

  test("is in its Hello, and in each later one as it is by then", async () => {
    await using it = await open({ sessions, linkedProjects });
    await it.worker.start();
    expect(it.peer.link.hello).toMatchObject({ sessions: [{ sessionId: "s" }], linkedProjects });
    it.worker.publish({ linkedProjects: [], sessions: [{ id: "t" }] });
    await it.peer.find(({ frame }) => (frame.case === "linksChanged" ? frame.value : undefined));
    it.peer.link.end();
    await it.peer.until(() => it.peer.links.length > 1);
    expect(it.peer.link.hello).toMatchObject({ sessions: [{ sessionId: "t" }], linkedProjects: [] });
  });

  test("changes at any time, also before the start", async () => {
    await using it = await open({ sessions });
    it.worker.publish({ linkedProjects, sessions: [] });
    await it.worker.start();
    expect(it.peer.link.hello).toMatchObject({ sessions: [], linkedProjects });
    it.worker.publish({ linkedProjects: [], sessions });
    const changed = await it.peer.find(({ frame }) =>
      frame.case === "linksChanged" ? frame.value : undefined,
    );
    expect(changed).toMatchObject({
      linkedProjects: [],
      sessions: [{ sessionId: "s", agentSessionId: "a", primary: true, project: "p" }],
    });
  });

  test("and is not taken over is logged, and told to whoever asked", async () => {
    const conflicts: PublishConflict[] = [];
    const both = Promise.withResolvers<void>();
    const onConflict = (conflict: PublishConflict) => {
      if (conflicts.push(conflict) === 2) both.resolve();
    };
    await using it = await open({ sessions, onConflict });
    const conflict = { sessionId: "s", workerId: "wrk_1", workerName: "first", detail: "first come" };
    it.peer.behaviour.welcome = { conflicts: [conflict] };
    it.peer.behaviour.conflicts = [{ ...conflict, detail: "still" }];
    await it.worker.start();
    it.worker.publish({ linkedProjects: [], sessions });
    await both.promise;
    expect(conflicts).toEqual([conflict, { ...conflict, detail: "still" }]);
    const warnings = it.bench.lines.filter(({ message }) => message.includes("not taken over"));
    expect(warnings).toMatchObject([{ level: "warn", fields: conflict }, { level: "warn" }]);
  });
});

test("a publication during a link's Hello follows as soon as the link stands", async () => {
  await using bench = await WorkerBench.open();
  bench.peer.behaviour.stream = "unavailable";
  const worker = bench.worker({ transport: "stream" });
  const started = worker.start();
  await bench.peer.until(() => true);
  bench.peer.behaviour.stream = "serve";
  worker.publish({ linkedProjects: [], sessions });
  await started;
  // With its Hello or after it, whichever came first.
  const hello = bench.peer.link.hello.sessions;
  const said =
    hello.length > 0
      ? hello
      : (await bench.peer.find(({ frame }) => (frame.case === "linksChanged" ? frame.value : undefined)))
          .sessions;
  expect(said).toMatchObject([{ sessionId: "s" }]);
  await worker.stop({ graceMs: 0 });
});
