import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { Addresses } from "../../server/rpc/addresses.ts";

class Connection extends Socket {
  override readonly remoteAddress: string;

  constructor(address: string) {
    super();
    this.remoteAddress = address;
  }
}

function watching(connectionsPerAddress = 20) {
  const clock = { ms: 0 };
  const addresses = new Addresses({
    connectionsPerAddress,
    isUncounted: (address) => address === "127.0.0.1",
    nowMs: () => clock.ms,
  });
  const admit = (address: string) => addresses.admit(new Connection(address));
  const flood = (address: string) => addresses.floodOf(new Connection(address))();
  return { clock, addresses, admit, flood };
}

describe("addresses that flood", () => {
  test("are shut out, and let in again, while others are served", () => {
    const { clock, admit, flood } = watching();
    flood("192.0.2.1");
    expect([admit("192.0.2.1"), admit("192.0.2.2")]).toEqual(["shut-out", "admitted"]);
    clock.ms = 9_999;
    expect(admit("192.0.2.1")).toBe("shut-out");
    clock.ms = 10_000;
    expect(admit("192.0.2.1")).toBe("admitted");
  });

  test("are shut out twice as long each time, for a minute at most, until they were quiet for one", () => {
    const { clock, admit, flood } = watching();
    const shutOutMs = () => {
      flood("192.0.2.1");
      const fromMs = clock.ms;
      while (admit("192.0.2.1") === "shut-out") clock.ms += 500;
      return clock.ms - fromMs;
    };
    const times = Array.from({ length: 8 }, shutOutMs);
    expect(times).toEqual([10, 20, 40, 60, 60, 60, 60, 60].map((seconds) => seconds * 1_000));
    clock.ms += 60_000;
    expect(shutOutMs()).toBe(10_000);
  });

  test("in IPv6 with all of their /64", () => {
    const { admit, flood } = watching();
    flood("2001:db8::1");
    expect([admit("2001:db8::ffff:1"), admit("2001:db8:0:1::1")]).toEqual(["shut-out", "admitted"]);
  });

  test("on connections of before lose all they have", () => {
    const { addresses, flood } = watching();
    const [before, other] = [new Connection("192.0.2.1"), new Connection("192.0.2.2")];
    addresses.admit(before);
    addresses.admit(other);
    flood("192.0.2.1");
    flood("192.0.2.1");
    expect(before.destroyed).toBe(false);
    flood("192.0.2.1");
    expect([before.destroyed, other.destroyed]).toEqual([true, false]);
  });

  test("and are uncounted go on: a proxy of this machine is everybody", () => {
    const { admit, flood } = watching();
    flood("127.0.0.1");
    expect(admit("127.0.0.1")).toBe("admitted");
  });
});

describe("addresses that open connections", () => {
  const openAndClose = async ({ addresses }: ReturnType<typeof watching>) => {
    const connection = new Connection("192.0.2.1");
    const answer = addresses.admit(connection);
    const closed = new Promise((resolve) => connection.once("close", resolve));
    connection.destroy();
    await closed;
    return answer;
  };

  test.each([
    [200, 200],
    [2, 100],
  ])("with %i at once may open a burst of %i, and a tenth of it a second", async (atOnce, burst) => {
    const one = watching(atOnce);
    const open = async (times: number) => {
      const answers: string[] = [];
      for (let turn = 0; turn < times; turn++) answers.push(await openAndClose(one));
      return answers.filter((answer) => answer === "admitted").length;
    };
    expect(await open(burst + 10)).toBe(burst);
    one.clock.ms += 1_000;
    expect(await open(burst)).toBe(burst / 10);
    one.clock.ms += 3_600_000;
    expect(await open(burst + 10)).toBe(burst);
  });

  test("without a limit, as many as they like", async () => {
    const one = watching(0);
    for (let turn = 0; turn < 100; turn++) expect(await openAndClose(one)).toBe("admitted");
  });
});
