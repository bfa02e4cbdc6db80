import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { GoingAwayReason, HelloSchema } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../worker/clock.ts";
import { autoTransport } from "../../../worker/transport/auto.ts";
import { MainRecord, withFallback } from "../../../worker/transport/fallback.ts";
import { streamTransport } from "../../../worker/transport/stream.ts";
import { GoingAwayError, type Transport } from "../../../worker/transport/transport.ts";
import { WorkerPeerApi } from "../../support/worker-api.ts";
import { WorkerBench } from "../../support/worker-bench.ts";
import { plainLink } from "../../support/worker-link.ts";

const never = new AbortController().signal;
const open = (transport: Transport) =>
  transport.open(create(HelloSchema), { signal: never, address: undefined });

describe.each([
  ["stream", { transport: "stream" }],
  ["the twins over gRPC", { transport: "poll" }],
  ["the twins over Connect", { transport: "poll", isApi: true }],
] as const)("over %s", (_name, { transport, ...rest }) => {
  async function attached(isApi: boolean, handler: Parameters<WorkerBench["worker"]>[0] = {}) {
    const bench = await WorkerBench.open();
    const api = await WorkerPeerApi.start(bench.peer);
    const address = isApi ? api.address : bench.peer.address;
    const worker = bench.worker({ address, apiAddress: api.address, transport, ...handler });
    await worker.start();
    const end = async () => {
      await worker.stop({ graceMs: 0 });
      await api[Symbol.asyncDispose]();
      await bench[Symbol.asyncDispose]();
    };
    return { bench, peer: bench.peer, worker, [Symbol.asyncDispose]: end };
  }
  const isApi = "isApi" in rest;

  test("a job runs, reports and ends", async () => {
    const handlers = {
      noop: (ctx: { log(text: string): void }) => {
        ctx.log("hello");
        return 1;
      },
    };
    await using it = await attached(isApi, { handlers });
    expect(it.worker.attachment?.transport).toBe(transport);
    const lease = it.peer.lease();
    it.peer.offer(lease);
    expect(await it.peer.resultOf(lease.lease.leaseId)).toMatchObject({
      lastSequence: 1n,
      outcome: { case: "success" },
    });
    const text = await it.peer.find(({ frame }) =>
      frame.case === "report" ? frame.value.items[0]?.body.value : undefined,
    );
    expect(text).toMatchObject({ text: "hello" });
    expect(await it.worker.stop()).toMatchObject({ kind: "stopped" });
  });

  test("an exclusive job starts on its confirmation", async () => {
    await using it = await attached(isApi);
    const lease = it.peer.lease({ exclusive: true });
    it.peer.offer(lease);
    const kinds = async () => {
      await it.peer.resultOf(lease.lease.leaseId);
      return it.peer.received.map(({ request }) => request.frame.case).filter((kind) => kind !== "heartbeat");
    };
    expect(await kinds()).toEqual(["offerReply", "results"]);
  });

  test("a cancel reaches the handler and is answered", async () => {
    const handlers = {
      noop: (ctx: { signal: AbortSignal }) =>
        new Promise((_, reject) => ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason))),
    };
    await using it = await attached(isApi, { handlers });
    const lease = it.peer.lease();
    it.peer.offer(lease);
    await it.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    it.peer.link.send({ case: "cancel", value: { lease: lease.lease, reason: "enough" } });
    expect((await it.peer.resultOf(lease.lease.leaseId)).outcome.case).toBe("cancelled");
    await it.peer.find(({ frame }) => (frame.case === "cancelStatus" ? true : undefined));
  });

  test("heartbeats are echoed and keep the link", async () => {
    await using it = await attached(isApi);
    it.peer.link.send({ case: "command", value: { action: 1 } });
    const isDraining = await it.peer.find(({ frame }) =>
      frame.case === "heartbeat" ? frame.value.draining : undefined,
    );
    expect(isDraining).toBe(true);
  });

  test("a link that ends is opened again, with what is held", async () => {
    const gate = Promise.withResolvers<void>();
    await using it = await attached(isApi, { handlers: { noop: () => gate.promise } });
    const lease = it.peer.lease();
    it.peer.offer(lease);
    await it.peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
    it.peer.link.end();
    await it.peer.until(() => it.peer.links.length === 2);
    expect(it.peer.link.hello.heldLeases).toMatchObject([{ leaseId: lease.lease.leaseId }]);
    gate.resolve();
    await it.peer.resultOf(lease.lease.leaseId);
  });

  test("being sent away ends it", async () => {
    await using it = await attached(isApi);
    it.peer.link.send({ case: "goingAway", value: { reason: GoingAwayReason.REPLACED } });
    expect(await it.worker.closed).toMatchObject({ kind: "replaced" });
  });
});

describe("a stream", () => {
  test("without a Welcome in time is an error, and leaves nothing", async () => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.stream = "hang";
    const { address, key } = bench.peer;
    const transport = streamTransport({
      address,
      key,
      ca: undefined,
      welcomeTimeoutMs: 50,
      clock: systemClock(),
    });
    await expect(open(transport)).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("answered by a GoingAway says so", async () => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.sendsAway = { reason: GoingAwayReason.REVOKED, detail: "gone" };
    const { address, key } = bench.peer;
    const transport = streamTransport({
      address,
      key,
      ca: undefined,
      welcomeTimeoutMs: 5_000,
      clock: systemClock(),
    });
    const error = await open(transport).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GoingAwayError);
  });
});

describe("auto", () => {
  test.each(["unimplemented", "unavailable"] as const)("polls where streams are %s", async (stream) => {
    await using bench = await WorkerBench.open();
    bench.peer.behaviour.stream = stream;
    const worker = bench.worker({ transport: "auto" });
    await worker.start();
    expect(worker.attachment?.transport).toBe("poll");
    const lease = bench.peer.lease();
    bench.peer.offer(lease);
    await bench.peer.resultOf(lease.lease.leaseId);
  });

  test("goes on to the API listener where the address knows no worker service", async () => {
    await using bench = await WorkerBench.open();
    await using api = await WorkerPeerApi.start(bench.peer);
    Object.assign(bench.peer.behaviour, { stream: "unimplemented", twins: "unimplemented" });
    const worker = bench.worker({ transport: "auto", apiAddress: api.address });
    await worker.start();
    expect(worker.attachment?.transport).toBe("poll");
    await worker.stop();
  });

  const unavailable = () => new ConnectError("nobody there", Code.Unavailable);
  const refused = () =>
    makeError(Code.Unauthenticated, "no", { reason: "KEY_INVALID", suggestion: "Send one." });

  function scripted(name: string, said: string[], fails: () => Error | undefined): Transport {
    return {
      open: async () => {
        said.push(name);
        const error = fails();
        if (error !== undefined) throw error;
        return plainLink(name === "stream" ? "stream" : "poll");
      },
    };
  }

  test("gives the stream two tries, and takes what works after", async () => {
    const said: string[] = [];
    const grpc = scripted("grpc", said, () => new ConnectError("no such method", Code.Unimplemented));
    const api = { address: "api", isSame: false, transport: scripted("api", said, () => undefined) };
    const transport = autoTransport(
      scripted("stream", said, unavailable),
      withFallback(grpc, () => api, new MainRecord()),
    );
    await expect(open(transport)).rejects.toThrow("nobody there");
    await open(transport);
    await open(transport);
    expect(said).toEqual(["stream", "stream", "grpc", "api", "api"]);
  });

  test("comes back to the stream when polling fails", async () => {
    const said: string[] = [];
    let polls = 0;
    const twin = scripted("twin", said, () => (polls++ === 0 ? undefined : unavailable()));
    const transport = autoTransport(scripted("stream", said, unavailable), twin);
    await expect(open(transport)).rejects.toThrow();
    await open(transport);
    await expect(open(transport)).rejects.toThrow();
    await expect(open(transport)).rejects.toThrow();
    expect(said).toEqual(["stream", "stream", "twin", "twin", "stream"]);
  });

  test("takes a coordinator's refusal for an answer", async () => {
    const said: string[] = [];
    const transport = autoTransport(
      scripted("stream", said, refused),
      scripted("twin", said, () => undefined),
    );
    for (let count = 0; count < 3; count++) await expect(open(transport)).rejects.toThrow("no");
    expect(said).toEqual(["stream", "stream", "stream"]);
  });

  test("a polling link asks to be replaced after a minute, unless the server knows no stream", async () => {
    const said: string[] = [];
    let isUp = false;
    const stream = scripted("stream", said, () => (isUp ? undefined : unavailable()));
    const transport = autoTransport(
      stream,
      scripted("twin", said, () => undefined),
    );
    await expect(open(transport)).rejects.toThrow();
    const first = await open(transport);
    expect(first.improveAfterMs).toBe(60_000);
    first.close("improve");
    const second = await open(transport);
    expect(second.improveAfterMs).toBe(120_000);
    isUp = true;
    second.close("improve");
    expect((await open(transport)).transport).toBe("stream");
    expect(said).toEqual(["stream", "stream", "twin", "stream", "twin", "stream"]);
    const unknown = () => new ConnectError("no such method", Code.Unimplemented);
    const polling = autoTransport(
      scripted("stream", said, unknown),
      scripted("twin", said, () => undefined),
    );
    expect((await open(polling)).improveAfterMs).toBeUndefined();
  });
});
