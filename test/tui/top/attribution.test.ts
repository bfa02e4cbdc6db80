import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AttributionBy, ListAttributionRequestSchema } from "@muster/client/v1/stats_service";
import { afterEach, describe, expect, test } from "vitest";
import { makeNounsPeer } from "./nouns-peer.ts";
import { sampleMs } from "./sample.ts";
import { type Stage, stage } from "./stage.ts";

const stages: Stage[] = [];
afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

async function open(view: string, wanted: string) {
  const peer = makeNounsPeer();
  const one = stage({ routes: peer.routes, settings: { view }, columns: 110, rows: 30 });
  stages.push(one);
  await one.shown("live");
  await one.shown(wanted);
  const asked = () => peer.requests(ListAttributionRequestSchema).at(-1);
  return { one, asked };
}

describe("who did how much", () => {
  test("is one key away from the statistics, for the last 30 days, with a sum", async () => {
    const { one, asked } = await open("stats", "render.frame");
    one.press("a");
    await one.shown("acme/docs");
    expect(asked()).toMatchObject({ by: AttributionBy.OWNER, project: "" });
    const text = one.text();
    expect(text).toContain("1,225 done, 32 failed, 41 pull requests, 38 merged since 30d");
    expect(text).toMatch(/ada +acme\/web +1,204 +31 +1h30m +41 +38/);
    expect(text).not.toContain("\u001b[2J");
  });

  test("goes by authors of pull requests, over a longer time, of one project", async () => {
    const { one, asked } = await open("attribution", "acme/docs");
    one.press("]");
    await one.shown("octo-ada");
    expect(asked()).toMatchObject({ by: AttributionBy.AUTHOR });
    one.press("w");
    await one.shown("since 90d");
    await expect.poll(() => asked()?.startTime !== undefined).toBe(true);
    const start = asked()?.startTime;
    expect(start === undefined ? 0 : timestampMs(start)).toBe(sampleMs - 90 * 86_400_000);
    one.press("/");
    one.type(" project:acme/web until:1d");
    one.press("enter");
    await expect.poll(() => asked()?.project).toBe("acme/web");
    expect(asked()).toMatchObject({ by: AttributionBy.AUTHOR });
    expect(one.console.screen().command()).toBe(
      "muster stats attribution --by author --project acme/web --since 90d --until 1d",
    );
    one.press("]");
    await one.shown("by owner·");
    await expect.poll(() => asked()).toMatchObject({ by: AttributionBy.OWNER, project: "acme/web" });
  });

  test("is put in another order, and saved as CSV with all its rows", async () => {
    const { one } = await open("attribution", "acme/docs");
    one.press("s");
    one.type("most done");
    one.press("enter");
    await one.shown(/MERGED *\n.*ada +acme\/web/);
    one.press("ctrl-s");
    await one.shown("saved to /tmp/attribution-owner.csv");
    expect(one.written).toContain("ada,acme/web,1204,31,5400.000,41,38");
    expect(one.written.find((line) => line.startsWith("contributor,"))).toBeDefined();
  });

  test("of a mistake in the filter says where it is", async () => {
    const { one } = await open("attribution", "acme/docs");
    one.press("/");
    one.type("since:yesterday");
    one.press("enter");
    await one.shown("since is not a time");
  });
});
