import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import {
  FireOutcome,
  FireSchema,
  OverlapPolicy,
  type PutScheduleRequest,
  type Schedule,
  ScheduleSchema,
  ScheduleService,
} from "@muster/client/v1/schedule_service";
import { afterEach, describe, expect, test } from "vitest";
import { makeNounsPeer } from "./nouns-peer.ts";
import { sampleMs } from "./sample.ts";
import { type Stage, stage } from "./stage.ts";

const stages: Stage[] = [];
afterEach(async () => {
  await Promise.all(stages.splice(0).map((one) => one.close()));
});

const ahead = (seconds: number) => timestampFromMs(sampleMs + seconds * 1_000);

function sample(): Map<string, Schedule> {
  const one = (name: string, more: object) =>
    [
      name,
      create(ScheduleSchema, { name, zone: "UTC", overlap: OverlapPolicy.SKIP, catchUpLimit: 10, ...more }),
    ] as const;
  return new Map([
    one("nightly", {
      ...{
        cron: "30 2 * * *",
        zone: "America/New_York",
        words: "At 02:30, every day",
        nextFireTime: ahead(3_600),
      },
      job: { kind: "index.repo", queue: "default" },
      lastFire: create(FireSchema, {
        outcome: FireOutcome.SKIPPED,
        fireTime: ahead(-60),
        note: "job_x has not ended",
      }),
    }),
    one("purge\u001b[2J", { cron: "@hourly", paused: true, pauseReason: "disk", job: { kind: "purge" } }),
  ]);
}

/** The console on its schedules, and what was asked for. */
async function open() {
  const kept = sample();
  const asked: string[] = [];
  const puts: PutScheduleRequest[] = [];
  const find = (name: string): Schedule => {
    const found = kept.get(name);
    if (found === undefined)
      throw makeError(Code.NotFound, `none: ${name}`, { reason: "SCHEDULE_NOT_FOUND" });
    return found;
  };
  const say = (what: string, name: string): Schedule => {
    asked.push(`${what} ${name}`);
    return find(name);
  };
  const one = stage({
    routes: (router) => {
      makeNounsPeer().routes(router);
      router.service(ScheduleService, {
        listSchedules: () => ({ schedules: [...kept.values()] }),
        getSchedule: ({ name }) => ({ schedule: find(name) }),
        listFires: () => ({ fires: [] }),
        previewSchedule: () => ({
          words: "At 02:30, every day",
          fireTimes: [{ wallTime: "2027-03-14 03:00:00", offset: "-04:00", note: "02:30 does not exist" }],
        }),
        putSchedule: (request) => {
          puts.push(request);
          if (request.schedule?.cron === "61 * * * *") {
            throw makeError(Code.InvalidArgument, "no", {
              ...{ reason: "VALIDATION_FAILED" },
              violations: [{ field: "schedule.cron", message: "cannot be read" }],
            });
          }
          if (!request.validateOnly && request.schedule) kept.set(request.schedule.name, request.schedule);
          return request.schedule ? { schedule: request.schedule } : {};
        },
        pauseSchedule: ({ name }) => ({ schedule: Object.assign(say("pause", name), { paused: true }) }),
        resumeSchedule: ({ name }) => ({ schedule: Object.assign(say("resume", name), { paused: false }) }),
        triggerSchedule: ({ name }) => {
          say("trigger", name);
          return { fire: { outcome: FireOutcome.SUBMITTED, jobId: "job_01" } };
        },
        deleteSchedule: ({ name }) => {
          say("delete", name);
          kept.delete(name);
          return {};
        },
      });
    },
    settings: { view: "schedules" },
    columns: 110,
    rows: 40,
  });
  stages.push(one);
  await one.shown("live");
  await one.shown("nightly");
  return { one, asked, puts, kept };
}

describe("the screen of schedules", () => {
  test("shows when each fires next, what became of the last time, and what the clocks do", async () => {
    const { one } = await open();
    await one.shown("2027-03-14 03:00:00");
    const text = one.text();
    expect(text).toContain("in 1h00m");
    expect(text).toContain("skipped");
    expect(text).toContain("paused");
    expect(text).not.toContain("\u001b[2J");
  });

  test("triggers, pauses and resumes by keys; a pause can be undone", async () => {
    const { one, asked } = await open();
    one.press("t");
    await one.shown("nightly made job_01");
    one.press("p");
    await one.shown("nightly is paused");
    one.press("u");
    await expect.poll(() => asked).toEqual(["trigger nightly", "pause nightly", "resume nightly"]);
  });

  test("deletes one after its name was typed", async () => {
    const { one, asked } = await open();
    one.press("x");
    await one.shown("Delete schedule nightly?");
    one.press("tab", "tab");
    one.type("nightly");
    one.press("tab");
    one.press("right", "enter");
    await expect.poll(() => asked).toEqual(["delete nightly"]);
  });

  test("edits one in a form: shows the next times and what changes before it saves", async () => {
    const { one, puts, kept } = await open();
    one.press("e");
    await one.shown("Edit nightly");
    one.press("ctrl-u");
    one.type("61 * * * *");
    one.press("ctrl-s");
    await one.shown("cannot be read");
    one.press("ctrl-u");
    one.type("0 3 * * *");
    one.press("ctrl-s");
    await one.shown("Save nightly?");
    const text = one.text();
    expect(text).toContain("2027-03-14 03:00:00");
    expect(text).toContain("Cron: 30 2 * * * -> 0 3 * * *");
    expect(puts.every(({ validateOnly }) => validateOnly)).toBe(true);
    one.press("right", "enter");
    await one.shown("saved nightly");
    expect(one.console.overlay()).toBeUndefined();
    expect(kept.get("nightly")).toMatchObject({ cron: "0 3 * * *", zone: "America/New_York" });
  });
});
