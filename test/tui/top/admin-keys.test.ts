import { Code, ConnectError } from "@connectrpc/connect";
import { ListAuditEntriesRequestSchema } from "@muster/client/v1/audit_service";
import {
  CreateKeyRequestSchema,
  ListKeysRequestSchema,
  RevokeKeyRequestSchema,
} from "@muster/client/v1/key_service";
import { CheckServerRequestSchema } from "@muster/client/v1/system_service";
import { afterEach, describe, expect, test } from "vitest";
import { createViews } from "../../../tui/top/screens/views.ts";
import { makeNounsPeer, type NounsPeer } from "./nouns-peer.ts";
import { sampleMs } from "./sample.ts";
import { type Stage, type StageOptions, stage } from "./stage.ts";

const stages: Stage[] = [];

afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

async function open(
  view: string,
  wanted: string,
  options: StageOptions = {},
): Promise<{ one: Stage; peer: NounsPeer }> {
  const peer = makeNounsPeer();
  const one = stage({ routes: peer.routes, settings: { view }, columns: 110, rows: 30, ...options });
  stages.push(one);
  await one.shown("1 coordinator");
  await one.shown("live");
  await one.shown(wanted);
  return { one, peer };
}

/** Says yes in a dialog. */
const yes = (one: Stage): void => one.press("right", "enter");

describe("audit, keys, system and contexts", () => {
  test("the audit log is asked by actor, action, target and time", async () => {
    const { one, peer } = await open("audit", "key.create");
    one.press("/");
    one.type("actor:me action:job. since:2h");
    one.press("enter");
    await expect
      .poll(() => peer.requests(ListAuditEntriesRequestSchema).at(-1))
      .toMatchObject({ actor: "me", action: "job." });
    const since = peer.requests(ListAuditEntriesRequestSchema).at(-1)?.since;
    expect(Number(since?.seconds) * 1000).toBe(sampleMs - 7_200_000);
    expect(one.console.screen().command()).toBe("muster audit list --mine --action job. --since 2h");
  });

  test("an entry leads to what was changed", async () => {
    const { one } = await open("audit", "key.create");
    one.press("j", "o");
    expect(one.console.screen().id).toBe("worker");
    one.press("q", "j", "o");
    expect(one.text()).toContain("it has no screen");
  });

  test("a key's text is shown once, copied by y, and lost by Esc alone", async () => {
    const { one, peer } = await open("keys", "submit read");
    one.press("c");
    one.type("ci");
    one.press("tab");
    one.type(" supmit");
    one.press("ctrl-s");
    await one.shown('there is no scope "supmit"');
    one.press("ctrl-u");
    one.type("submit,read");
    one.press("ctrl-s");
    await one.shown("mk_api_4fQz81aB9xYw_secret");
    one.press("q", "enter", "j");
    expect(one.text()).toContain("mk_api_4fQz81aB9xYw_secret");
    one.press("y");
    const text = Buffer.from("mk_api_4fQz81aB9xYw_secret").toString("base64");
    expect(one.written.at(-1)).toContain(text);
    one.press("esc");
    expect(one.text()).not.toContain("secret");
    expect(peer.requests(CreateKeyRequestSchema)).toMatchObject([{ name: "ci", scopes: ["submit", "read"] }]);
  });

  test("a key is revoked by its name", async () => {
    const { one, peer } = await open("keys", "submit read");
    one.press("x", "tab", "tab");
    one.type("ci");
    one.press("tab");
    yes(one);
    await one.shown("revoked ci");
    expect(peer.requests(RevokeKeyRequestSchema)).toMatchObject([{ keyId: "4fQz81aB9xYw" }]);
  });

  test("what the key at hand may not see is said, and the console lives on", async () => {
    const peer = makeNounsPeer();
    peer.refuse.set(
      ListKeysRequestSchema,
      new ConnectError("the key needs scope admin", Code.PermissionDenied),
    );
    const one = stage({ routes: peer.routes, settings: { view: "keys" }, columns: 110, rows: 30 });
    stages.push(one);
    await one.shown("the key needs scope admin");
    expect(one.text()).not.toContain("Reconnecting");
  });

  test("the checks of the system are made again by t", async () => {
    const { one, peer } = await open("system", "Free some space.");
    one.press("t");
    await expect
      .poll(() => {
        one.text();
        return peer.requests(CheckServerRequestSchema).length;
      })
      .toBe(2);
    await one.shown("Free some space.");
  });

  test("another context is gone to, the present one is not", async () => {
    const used: string[] = [];
    const entry = (name: string, isCurrent: boolean) => ({
      name,
      address: `http://${name}:7070`,
      source: "config.yaml",
      isCurrent,
    });
    const contexts = {
      list: () => [entry("prod", true), entry("staging", false)],
      use: (name: string) => void used.push(name),
    };
    const { one } = await open("contexts", "staging", { views: createViews({ contexts }) });
    one.press("enter");
    expect(one.text()).toContain("this is prod");
    one.press("j", "enter");
    expect(used).toEqual(["staging"]);
  });
});
