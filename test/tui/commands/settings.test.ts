import { afterEach, beforeEach, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { type RunInput, runCli } from "../run-cli.ts";

let peer: ApiPeer;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key } };
});
afterEach(() => peer.close());

const run = (...words: string[]) => runCli(["settings", ...words], input);
const facts = async (...words: string[]) => {
  const { stdout } = await run("get", ...words);
  return new Map(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split("\t") as [string, string]),
  );
};

test("set changes what is given, leaves the rest, and none is inherited again", async () => {
  expect((await facts()).get("max attempts")).toBe("inherited");
  expect((await run("set", "--max-attempts", "5", "--lease-ttl", "2h")).exitCode).toBe(0);
  expect((await run("set", "--backoff-factor", "1.5", "--backoff-initial", "30s")).exitCode).toBe(0);
  expect(Object.fromEntries(await facts())).toEqual({
    "settings of": "org",
    "reclaim after": "inherited",
    "lease ttl": "2h00m",
    "max attempts": "5",
    "backoff initial": "30s",
    "backoff max": "inherited",
    "backoff factor": "1.5",
  });
  const taken = await run("set", "--max-attempts", "none", "--lease-ttl", "none", "-o", "json");
  expect(JSON.parse(taken.stdout)).toEqual({
    settings: { retry: { backoffInitial: "30s", backoffFactor: 1.5 } },
  });
});

test("queues and kinds have their own", async () => {
  await run("set", "--queue", "renders", "--reclaim-after", "5m");
  await run("set", "--kind", "render.frame", "--max-attempts", "1");
  expect((await facts("--queue", "renders")).get("reclaim after")).toBe("5m00s");
  expect((await facts("--kind", "render.frame")).get("max attempts")).toBe("1");
  expect((await facts()).get("reclaim after")).toBe("inherited");
  expect((await run("get", "--kind", "render.frame", "-o", "name")).stdout).toBe("kind:render.frame\n");
});

test.each([
  [["get", "--queue", "a", "--kind", "b"], "not both"],
  [["set"], "give a setting to change"],
  [["set", "--backoff-factor", "0.5"], "a number from 1 to 100, or none"],
  [["set", "--max-attempts", "x"], "a whole number from 1 to 100"],
])("%j is wrong usage", async (words, message) => {
  const ran = await run(...words);
  expect(ran.exitCode).toBe(2);
  expect(ran.stderr).toContain(message);
});
