import { createServer } from "node:http";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { HelloSchema } from "@muster/client/v1/link";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../worker/clock.ts";
import { chooseTransport } from "../../../worker/transport/choose.ts";
import { FallbackRefusedError, MainRecord, withFallback } from "../../../worker/transport/fallback.ts";
import { FrameQueue } from "../../../worker/transport/frame-queue.ts";
import { refusalOf } from "../../../worker/transport/refusal.ts";
import type { Transport } from "../../../worker/transport/transport.ts";
import { WorkerPeerApi } from "../../support/worker-api.ts";
import { WorkerBench } from "../../support/worker-bench.ts";
import { plainLink } from "../../support/worker-link.ts";

type Meets = Error | undefined;

const unavailable = new ConnectError("No connection established: connect ECONNREFUSED", Code.Unavailable);
const badGateway = new ConnectError("Received HTTP status code 502", Code.Unavailable);
const unimplemented = new ConnectError("no such method", Code.Unimplemented);
const late = new ConnectError("no Welcome came", Code.DeadlineExceeded);
const refused = makeError(Code.Unauthenticated, "no", { reason: "KEY_INVALID", suggestion: "Send one." });

/** A main address and another, each of which meets what the test says. */
class TwoAddresses {
  main: Meets;
  other: Meets;
  isSame = false;
  readonly said: string[] = [];
  readonly record: MainRecord = new MainRecord();
  readonly transport: Transport = withFallback(
    this.record.watch({ open: () => this.#open("main", this.main) }),
    () => ({
      address: "other:1",
      isSame: this.isSame,
      transport: { open: () => this.#open("other", this.other) },
    }),
    this.record,
  );
  frames: FrameQueue<never> = new FrameQueue<never>();

  open() {
    const options = { signal: new AbortController().signal, address: undefined };
    return this.transport.open(create(HelloSchema), options);
  }

  async #open(name: string, meets: Meets) {
    this.said.push(name);
    if (meets !== undefined) throw meets;
    this.frames = new FrameQueue<never>();
    return { ...plainLink("poll"), frames: this.frames };
  }
}

describe("the other address", () => {
  test.each([
    ["the main one is down", unavailable, 3, ["main", "main", "main"]],
    ["streams are unknown at the main one", unimplemented, 1, ["main", "other"]],
    ["a proxy answers for the main one", badGateway, 1, ["main", "other"]],
    ["the main one is late once, then again", late, 2, ["main", "main", "other"]],
  ])("when %s", async (_name, error, rounds, said) => {
    const it = new TwoAddresses();
    it.main = error;
    for (let round = 0; round < rounds; round++) await it.open().catch(() => {});
    expect(it.said).toEqual(said);
  });

  test("is always tried where it is the main one by another protocol", async () => {
    const it = new TwoAddresses();
    Object.assign(it, { isSame: true, main: unavailable, other: refused });
    await expect(it.open()).rejects.toBe(refused);
    expect(it.said).toEqual(["main", "other"]);
  });

  test("comes first once it has worked, until it fails", async () => {
    const it = new TwoAddresses();
    it.main = unimplemented;
    await it.open();
    await it.open();
    it.main = undefined;
    it.other = unavailable;
    await it.open();
    await it.open();
    expect(it.said).toEqual(["main", "other", "other", "other", "main", "main"]);
  });
});

describe("a refusal at the other address", () => {
  test("ends nothing while the main one gives no answer", async () => {
    const it = new TwoAddresses();
    Object.assign(it, { main: badGateway, other: refused });
    const error = await it.open().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FallbackRefusedError);
    expect(refusalOf(error)).toBeUndefined();
    expect(String(error)).toMatch(/other:1 refused this worker \(no Send one\.\).*502/);
  });

  test("is final when the main one says that it knows no such service", async () => {
    const it = new TwoAddresses();
    Object.assign(it, { main: unimplemented, other: refused });
    await expect(it.open()).rejects.toBe(refused);
  });

  test("sends the worker back to the main one when it worked before", async () => {
    const it = new TwoAddresses();
    it.main = unimplemented;
    await it.open();
    Object.assign(it, { main: unavailable, other: refused });
    await expect(it.open()).rejects.toBeInstanceOf(FallbackRefusedError);
    expect(it.said).toEqual(["main", "other", "other", "main"]);
  });

  test("in the middle of a link ends only the link", async () => {
    const it = new TwoAddresses();
    it.main = unimplemented;
    const link = await it.open();
    it.frames.end(refused);
    await expect(link.frames[Symbol.asyncIterator]().next()).rejects.toBeInstanceOf(FallbackRefusedError);
  });
});

/** A server that is no coordinator of ours: notes each key that it is sent, and refuses it. */
async function openStranger() {
  const keys: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    keys.push(request.headers.authorization);
    response.writeHead(401).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  const address = `http://127.0.0.1:${typeof bound === "object" ? bound?.port : ""}`;
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()));
  return { keys, address, [Symbol.asyncDispose]: close };
}

describe("a worker whose coordinator is down", () => {
  test.each(["auto", "poll"] as const)(
    "sends its key nowhere else, and goes on trying (%s)",
    async (transport) => {
      await using stranger = await openStranger();
      await using bench = await WorkerBench.open();
      const rounds = Promise.withResolvers<string>();
      let left = 3;
      const worker = bench.worker({
        transport,
        address: "127.0.0.1:1",
        apiAddress: stranger.address,
        logger: (_level, message) => {
          if (message === "not attached" && --left === 0) rounds.resolve("tried");
        },
      });
      const starting = worker.start().catch(() => {});
      expect(await Promise.race([rounds.promise, worker.closed])).toBe("tried");
      expect(stranger.keys).toEqual([]);
      await worker.stop({ graceMs: 0 });
      await starting;
    },
  );
});

describe("the API address of a Welcome", () => {
  const options = (address: string, key: string) => ({
    address,
    apiAddress: undefined,
    key,
    ca: undefined,
    choice: "auto" as const,
    welcomeTimeoutMs: 5_000,
  });
  const never = { signal: new AbortController().signal, address: undefined };

  test("is where the worker goes when streams stop passing", async () => {
    await using bench = await WorkerBench.open();
    await using api = await WorkerPeerApi.start(bench.peer);
    bench.peer.behaviour.welcome = { apiAddress: api.address };
    const transport = chooseTransport(options(bench.peer.address, bench.peer.key), systemClock());
    (await transport.open(create(HelloSchema), never)).close();
    bench.peer.behaviour.stream = "unimplemented";
    bench.peer.behaviour.twins = "unimplemented";
    const link = await transport.open(create(HelloSchema), never);
    expect(link.transport).toBe("poll");
    link.close();
  });

  test.each([
    ["https://h:7071", "http://h:7070"],
    ["h:17171", "not an address"],
    ["h:17171", ""],
  ])("of a worker at %s is not %j", (address, named) => {
    const record = new MainRecord();
    record.note({ apiAddress: named });
    expect(record.apiAddressFor(address)).toBeUndefined();
  });
});
