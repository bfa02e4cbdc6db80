import { Metadata } from "@grpc/grpc-js";
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from "@muster/client/grpc/health";
import { type GetStatusResponse, StatusService } from "@muster/client/v1/status_service";
import { afterEach, describe, expect, test } from "vitest";
import { notFound } from "../../server/domain/errors.ts";
import {
  call,
  closeStockClients,
  detailText,
  failure,
  next,
  onConnectNode,
  onGrpcJs,
  streaming,
  wired,
  withKey,
} from "./stock-client.ts";

afterEach(closeStockClients);

describe.each([
  ["connect-node", onConnectNode],
  ["grpc-js", onGrpcJs],
])("a stock gRPC client of %s", (_name, open) => {
  test("checks, lists and watches health without a key", async () => {
    const { client, health } = await open({});
    const ask = (service: string) => ({ service });
    const none = new Metadata();
    expect((await call(client, Health.method.check, ask(""), none)).status).toBe(Serving.SERVING);
    const listed = await call(client, Health.method.list, {}, none);
    expect(Object.keys(listed.statuses).sort()).toEqual(["", "muster.v1.StatusService"]);
    const unknown = await failure(call(client, Health.method.check, ask("nope"), none));
    expect([unknown.code, unknown.details]).toEqual([5, "There is no service nope here"]);

    const watch = streaming(client, Health.method.watch, ask("muster.v1.StatusService"));
    expect((await next(watch)).status).toBe(Serving.SERVING);
    health.setServing(false);
    expect((await next(watch)).status).toBe(Serving.NOT_SERVING);
    health.setServing(true);
    expect((await next(watch)).status).toBe(Serving.SERVING);
    watch.on("error", () => {}).cancel();
    const stranger = streaming(client, Health.method.watch, ask("nope"));
    expect((await next(stranger)).status).toBe(Serving.SERVICE_UNKNOWN);
    stranger.on("error", () => {}).cancel();
  });

  test("hears NOT_SERVING before the stream of a stopping coordinator ends", async () => {
    const { client, stop } = await open({});
    const watch = streaming(client, Health.method.watch, {});
    await next(watch);
    const statuses: Serving[] = [];
    const ended = new Promise((resolve) => watch.on("end", resolve).on("error", resolve));
    watch.on("data", (message: HealthCheckResponse) => statuses.push(message.status)).resume();
    stop();
    await ended;
    expect(statuses).toEqual([Serving.NOT_SERVING]);
  });

  test("calls with a key, and finds its request id in the headers", async () => {
    const { client } = await open({});
    const { getStatus } = StatusService.method;
    const made = call(client, getStatus, {}, withKey({ "x-request-id": "abc" }));
    expect((await made).status?.org).toBe("acme");
    expect((await made.headers).get("x-request-id")).toEqual(["abc"]);
    const error = await failure(call(client, getStatus, {}, new Metadata()));
    expect(error.code).toBe(16);
    expect(detailText(error)).toContain("KEY_INVALID");
  });

  test("finds the detail of an error in the trailers, of a call and of a stream that has begun", async () => {
    const { client } = await open({
      status: {
        getStatus() {
          throw notFound("ORG_NOT_FOUND", "org_x");
        },
        async *watchStatus() {
          yield { status: { org: "acme" } };
          throw new Error("secret");
        },
      },
    });
    const error = await failure(call(client, StatusService.method.getStatus, {}));
    expect([error.code, error.details]).toEqual([5, "There is no such org: org_x"]);
    expect(detailText(error)).toContain("ORG_NOT_FOUND");
    const stream = streaming(client, StatusService.method.watchStatus, {});
    expect((await next(stream)).status?.org).toBe("acme");
    const broken = await failure(next(stream));
    expect(broken.code).toBe(13);
    expect(broken.details).not.toContain("secret");
    expect(detailText(broken)).toContain("INTERNAL");
  });

  test("ends the method by cancelling", async () => {
    const ended = Promise.withResolvers<void>();
    const { client } = await open({
      status: {
        async *watchStatus(_request, { signal }) {
          yield { status: { org: "acme" } };
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
          ended.resolve();
        },
      },
    });
    const stream = streaming(client, StatusService.method.watchStatus, {});
    await next(stream);
    stream.on("error", () => {}).cancel();
    await ended.promise;
  });

  test("gets a stream that is faster than it reads, whole and in order", async () => {
    const { client } = await open({
      status: {
        async *watchStatus() {
          for (let index = 0; index < 2_000; index++) yield { status: { org: `${index}`.padEnd(500) } };
        },
      },
    });
    const stream = streaming(client, StatusService.method.watchStatus, {});
    let expected = 0;
    for await (const message of stream as AsyncIterable<GetStatusResponse>) {
      expect(message.status?.org.trim()).toBe(`${expected++}`);
    }
    expect(expected).toBe(2_000);
  });

  test("is told what is wrong with a message that cannot be read", async () => {
    const { client } = await open({});
    const { path } = wired(StatusService.method.getStatus);
    const sent = (bytes: Buffer) =>
      failure(
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(
            path,
            () => bytes,
            (answer) => answer,
            {},
            withKey(),
            (error, value) => (error === null ? resolve(value) : reject(error)),
          );
        }),
      );
    const undecoded = await sent(Buffer.from([0x0a, 0xff]));
    expect(undecoded.code).toBe(3);
    expect(detailText(undecoded)).toContain("VALIDATION_FAILED");
  });
});
