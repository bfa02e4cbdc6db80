import { afterAll, beforeAll, expect, test } from "vitest";
import { type ProxyHost, startProxyHost } from "./proxy-host.ts";
import { dial, openTarget, type TestTarget } from "./sockets.ts";

let host: ProxyHost;
let target: TestTarget;

beforeAll(async () => {
  host = startProxyHost({ seed: "host" });
  target = await openTarget();
});

afterAll(async () => {
  await host.close();
  await target[Symbol.asyncDispose]();
});

test("proxies of another process are started, told to do harm, looked at and closed", async () => {
  const proxy = await host.start("tcp", "worker-1", target.address);
  const client = dial(proxy.address);
  const server = await target.accept();
  client.send("one");
  await server.until(3);
  const heal = await proxy.fault({ kind: "hold" });
  server.send("held");
  await expect
    .poll(async () => (await proxy.look()).connections)
    .toMatchObject([{ id: 1, bytesUp: 3, bytesDown: 0 }]);
  await heal();
  expect(`${await client.until(4)}`).toBe("held");
  await proxy.fault({ kind: "reset" });
  expect(await client.closed).toBe("ECONNRESET");
  expect((await proxy.look()).counts).toEqual({ hold: 1, reset: 1 });
  await proxy.close();
  expect(await dial(proxy.address).closed).toBe("ECONNREFUSED");
});

test("the levels do harm of their own, and no other", async () => {
  const frame = await host.start("frame", "link", target.address);
  await frame.fault({ kind: "frames", frames: ["offer"], do: { type: "drop" } });
  const tcp = await host.start("tcp", "bytes", target.address);
  await expect(tcp.fault(JSON.parse('{"kind":"goaway"}'))).rejects.toThrow("a tcp proxy knows no goaway");
  await expect(host.start("tcp", "bytes", target.address)).rejects.toThrow("there is a proxy bytes already");
  await expect(tcp.setTarget("nowhere")).rejects.toThrow("a target is host:port");
});

test("what is asked of a process that is gone is refused", async () => {
  const doomed = startProxyHost({ seed: "" });
  const proxy = await doomed.start("postgres", "p", target.address);
  process.kill(doomed.pid, "SIGKILL");
  await expect(proxy.look()).rejects.toThrow("the process of the proxies ended with SIGKILL");
  await doomed.close();
});
