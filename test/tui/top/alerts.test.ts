import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { AlertCondition, AlertGroupBy } from "@muster/client/v1/alert_service";
import { afterEach, describe, expect, test } from "vitest";
import { type AlertsPeer, makeAlertsPeer } from "./alerts-peer.ts";
import { sampleMs } from "./sample.ts";
import { type Stage, stage } from "./stage.ts";

const stages: Stage[] = [];
afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

async function open(): Promise<{ one: Stage; peer: AlertsPeer }> {
  const peer = makeAlertsPeer();
  const one = stage({ routes: peer.routes, settings: { view: "alerts" }, columns: 110, rows: 40 });
  stages.push(one);
  await one.shown("live");
  await one.shown("dead-jobs");
  return { one, peer };
}

/** Says yes in a dialog. */
const yes = (one: Stage): void => one.press("right", "enter");

/** Goes on to the field of a form that is written, by its label. */
function goTo(one: Stage, label: string): void {
  for (let turns = 0; turns < 20; turns += 1) {
    if (new RegExp(`${label} +\\[[^\\]]*▏`).test(one.text())) return;
    one.press("tab");
  }
  throw new Error(`there is no field ${label}`);
}

describe("alert rules", () => {
  test("are created in a form: the server checks, the changes are shown, and only then it is saved", async () => {
    const { one, peer } = await open();
    one.press("c");
    await one.shown("email channel");
    one.press("enter");
    await one.shown("Create an alert rule");
    one.type("flaky");
    one.press("tab", "right", "tab");
    await one.shown("percent of the runs that ended");
    one.type("0");
    one.press("ctrl-s");
    await one.shown("must be 1 to 1,000,000");
    one.press("ctrl-u");
    one.type("20");
    goTo(one, "Kind");
    one.type("render.*");
    goTo(one, "Channels");
    await one.shown("there are: ops");
    one.type("ops");
    goTo(one, "Note");
    one.type("look at the queue ".repeat(12));
    one.press("ctrl-s");
    await one.shown("Create flaky?");
    // Where it is too small for everything the buttons are there nevertheless.
    expect(one.at(60, 16).join("\n")).toMatch(/more lines[\s\S]*< Keep >/);
    const text = one.text();
    expect(text).toContain("Name: flaky");
    expect(text).toContain("On: failure-rate");
    expect(text).toContain("At: 20");
    expect(text).toContain(
      "muster alert create flaky --on failure-rate --threshold 20 --kind 'render.*' --note",
    );
    expect(text).toContain("--channel ops");
    expect(peer.acts).toEqual([]);
    one.press("tab");
    one.type("too many fail");
    one.press("tab");
    yes(one);
    await one.shown("saved flaky");
    expect(one.console.overlay()).toBeUndefined();
    expect(peer.acts).toEqual(["put flaky too many fail"]);
    expect(peer.rules.get("flaky")).toMatchObject({
      condition: AlertCondition.FAILURE_RATE,
      ...{ threshold: 20, channels: ["ops"], resolveMessage: true },
    });
    expect(peer.rules.get("flaky")?.window).toBeUndefined();
  });

  test("are edited: what was not touched stays, what is emptied is as is usual", async () => {
    const { one, peer } = await open();
    one.press("e");
    await one.shown("Edit dead-jobs");
    expect(one.text()).not.toContain("\u001b[2J");
    goTo(one, "Window");
    one.press("ctrl-u");
    goTo(one, "Project");
    one.press("tab");
    one.type("k");
    goTo(one, "Channels");
    one.press("ctrl-u", "ctrl-s");
    await one.shown("Save dead-jobs?");
    const text = one.text();
    expect(text).toContain("Window: 10m00s -> (nothing)");
    expect(text).toContain("nobody is told");
    expect(text).toContain("muster alert edit dead-jobs --window 5m --group-by kind --no-channel");
    yes(one);
    await one.shown("saved dead-jobs");
    expect(peer.rules.get("dead-jobs")).toMatchObject({
      ...{ threshold: 3, channels: [], groupBy: AlertGroupBy.KIND },
      ...{ throttle: { seconds: 900n }, note: "look at\u001b[2J it" },
    });
    expect(peer.rules.get("dead-jobs")?.window).toBeUndefined();
  });

  test("are not lost when they are not saved, or refused: the form is back as it was", async () => {
    const { one, peer } = await open();
    one.press("e");
    await one.shown("Edit dead-jobs");
    goTo(one, "At");
    one.press("ctrl-u");
    one.type("77");
    one.press("ctrl-s");
    await one.shown("Save dead-jobs?");
    one.press("esc");
    await one.shown("Edit dead-jobs");
    expect(one.text()).toContain("[77");
    peer.refuse = makeError(Code.Unavailable, "the database is away", { reason: "UNAVAILABLE" });
    one.press("ctrl-s");
    await one.shown("Save dead-jobs?");
    yes(one);
    await one.shown("Edit dead-jobs");
    expect(one.text()).toContain("[77");
    expect(peer.acts).toEqual([]);
  });

  test("that somebody changed meanwhile, or whose name is taken, are not overwritten", async () => {
    const { one, peer } = await open();
    one.press("e");
    await one.shown("Edit dead-jobs");
    const rule = peer.rules.get("dead-jobs");
    if (rule !== undefined) rule.updateTime = timestampFromMs(sampleMs);
    one.press("ctrl-s");
    await one.shown("it was changed by somebody meanwhile");
    one.press("esc", "c", "enter");
    await one.shown("Create an alert rule");
    one.type("stuck");
    one.press("ctrl-s");
    await one.shown("is taken");
    expect(peer.acts).toEqual([]);
  });

  test("are disabled and enabled by a key, and deleted after a question", async () => {
    const { one, peer } = await open();
    one.press("p");
    await one.shown("dead-jobs is disabled");
    await one.shown(/rule +dead-jobs +disabled/);
    one.press("p");
    await one.shown("dead-jobs is enabled");
    one.press("x");
    await one.shown("Delete the alert rule dead-jobs?");
    yes(one);
    await one.shown("deleted dead-jobs");
    expect(peer.acts).toEqual(["disable rule dead-jobs", "enable rule dead-jobs", "delete rule dead-jobs"]);
  });
});

describe("channels", () => {
  test("are created with a secret that is typed hidden and never shown", async () => {
    const { one, peer } = await open();
    one.press("c");
    one.type("slack");
    one.press("enter");
    await one.shown("Create a channel: slack");
    one.type("chat");
    one.press("tab");
    one.type("https://hooks.slack.com/services/T/B/hidden-word");
    expect(one.text()).toContain("•••");
    expect(one.text()).toContain("muster channel create chat slack --url-file -");
    one.press("ctrl-s");
    await one.shown("Create chat?");
    expect(one.text()).toContain("Webhook: a new secret");
    expect(one.text()).not.toContain("hidden-word");
    yes(one);
    await one.shown("saved chat");
    const value = { webhookUrl: "https://hooks.slack.com/services/T/B/hidden-word" };
    expect(peer.channels.get("chat")?.target).toMatchObject({ case: "slack", value });
  });

  test("that get a secret of the server show it once", async () => {
    const { one, peer } = await open();
    one.press("c");
    one.type("webhook");
    one.press("enter");
    one.type("pager");
    one.press("tab");
    one.type("http://pager.example/");
    one.press("ctrl-s");
    await one.shown("must be https");
    one.press("ctrl-u");
    one.type("https://pager.example/");
    one.press("ctrl-s");
    await one.shown("Create pager?");
    yes(one);
    await one.shown("whsec_made-of-the-server");
    one.press("q", "esc");
    expect(one.text()).not.toContain("whsec_");
    expect(peer.acts).toEqual(["put pager"]);
  });

  test("are edited without their secret, tested once it was shown what is sent, and deleted", async () => {
    const { one, peer } = await open();
    one.press("G", "e");
    await one.shown("Edit ops: webhook");
    one.press("tab");
    await one.shown("it stays as it is (…abcd)");
    one.press("shift-tab");
    one.type("y");
    one.press("ctrl-s");
    await one.shown("Save ops?");
    yes(one);
    await one.shown("saved ops");
    const value = { url: "https://hooks.example/xy", secret: "" };
    expect(peer.channels.get("ops")?.target).toMatchObject({ case: "webhook", value });
    one.press("t");
    await one.shown("[TEST] sample: a job is dead");
    expect(peer.acts).toEqual(["put ops"]);
    yes(one);
    await one.shown("sent to ops");
    one.press("p");
    await one.shown("ops is disabled");
    one.press("x");
    await one.shown("Delete the channel ops?");
    yes(one);
    await one.shown("deleted ops");
    expect(peer.acts.slice(1)).toEqual(["send ops", "disable channel ops", "delete channel ops"]);
  });
});

describe("silences", () => {
  test("are made of a rule, listed with what is left and why, changed and taken back", async () => {
    const { one, peer } = await open();
    one.press("z");
    await one.shown("Silence dead-jobs");
    goTo(one, "For");
    one.press("ctrl-u");
    one.type("2h");
    goTo(one, "Reason");
    one.type("the disk moves");
    one.press("ctrl-s");
    await one.shown("dead-jobs is silent");
    await one.shown("2h00m left");
    expect(one.text()).toMatch(/rule +dead-jobs +silent/);
    one.press("j", "j");
    await one.shown("ada␛[2J");
    expect(one.text()).toContain("the disk moves");
    one.press("e");
    await one.shown("Silence dead-jobs");
    one.press("ctrl-u");
    one.type("30m");
    one.press("ctrl-s");
    await one.shown("30m00s left");
    one.press("x");
    await one.shown("End the silence of dead-jobs?");
    yes(one);
    await one.shown("dead-jobs is no longer silent");
    expect(peer.acts).toEqual([
      ...["silence dead-jobs 7200s the disk moves", "silence dead-jobs 1800s the disk moves"],
      "unsilence dead-jobs",
    ]);
  });

  test("of all rules are made by one key, and can be undone", async () => {
    const { one, peer } = await open();
    one.press("Z");
    await one.shown("Silence all rules");
    one.press("ctrl-s");
    await one.shown("all rules are silent");
    await one.shown("all rules  ");
    one.press("u");
    await one.shown("all rules are no longer silent");
    expect(peer.acts).toEqual(["silence all 3600s", "unsilence all"]);
  });
});
