import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import { createMusterTransport } from "@muster/client/node";
import { KeyService } from "@muster/client/v1/key_service";
import { OrgService } from "@muster/client/v1/org_service";
import {
  CatchUpPolicy,
  OverlapPolicy,
  type ScheduleSchema,
  ScheduleService,
  ScheduleState,
} from "@muster/client/v1/schedule_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
let schedules: Client<typeof ScheduleService>;
beforeAll(async () => {
  muster = await startTestServer();
  schedules = muster.client(ScheduleService);
});
afterAll(() => muster?.close());

type Init = Exclude<MessageInitShape<typeof ScheduleSchema>, { $typeName: string }>;
const job = { kind: "report.build" };
const put = (schedule: Init, more: object = {}) =>
  schedules.putSchedule({ schedule: { cron: "0 9 * * *", job, ...schedule }, allowMissing: true, ...more });
const violationsOf = async (call: Promise<unknown>): Promise<string[]> => {
  const { detail } = await failure(call);
  return (detail?.violations ?? []).map(({ field, message }) => `${field} ${message}`);
};

describe("a schedule", () => {
  test("is created with its defaults, and read as it was put", async () => {
    const asked = {
      ...{ name: "all", cron: "15 3 * * 1-5", zone: "Europe/Paris", jitter: { seconds: 60n } },
      ...{
        overlap: OverlapPolicy.QUEUE,
        catchUp: CatchUpPolicy.ALL,
        catchUpLimit: 7,
        labels: { team: "web" },
      },
      job: { kind: "shell.run", title: "t", queue: "q", priority: 200, requiredSkills: ["gpu"] },
    };
    const { schedule, created, changed } = await put(asked);
    expect({ created, changed }).toEqual({ created: true, changed: true });
    expect(schedule).toMatchObject(asked);
    expect((await schedules.getSchedule({ name: "all" })).schedule).toEqual(schedule);
    expect(schedule?.words).toBe("At 03:15, Monday through Friday");
    const plain = (await put({ name: "plain" })).schedule;
    expect(plain).toMatchObject({ zone: "UTC", overlap: OverlapPolicy.SKIP, catchUp: CatchUpPolicy.ONE });
    expect(plain?.job).toMatchObject({ kind: "report.build", queue: "default", priority: 128 });
  });

  test("is refused when the org has 10,000; one that is there may still be changed, and another come for it", async () => {
    const { admin } = muster.database;
    await put({ name: "full-0" });
    await admin`
      insert into muster.schedules (org_id, schedule_id, name, cron, zone, jitter_ms, overlap, catch_up, catch_up_limit, kind,
        job, labels)
      select s.org_id, gen_random_uuid(), 'full-' || n, cron, zone, jitter_ms, overlap, catch_up, catch_up_limit, kind, job,
        labels
      from muster.schedules s, generate_series(1, 10000 - (select count(*)::int from muster.schedules)) n
      where s.name = 'full-0'`;
    const { detail } = await failure(put({ name: "one-more" }));
    expect(detail).toMatchObject({
      reason: "SCHEDULES_FULL",
      suggestion: expect.stringContaining("muster schedule list"),
    });
    expect((await put({ name: "full-0", cron: "@daily" })).changed).toBe(true);
    await schedules.deleteSchedule({ name: "full-1" });
    expect((await put({ name: "one-more" })).created).toBe(true);
    await admin`delete from muster.schedules where name like 'full-%' or name = 'one-more'`;
  });

  test("that is put again as it is changes nothing; changed, it has another etag", async () => {
    const first = (await put({ name: "again" })).schedule;
    const second = await put({ name: "again" });
    expect(second).toMatchObject({ created: false, changed: false });
    expect(second.schedule?.etag).toBe(first?.etag);
    const third = await put({ name: "again", etag: first?.etag ?? "", overlap: OverlapPolicy.ALLOW });
    expect(third.changed).toBe(true);
    expect(third.schedule?.etag).not.toBe(first?.etag);
    expect(third.schedule?.nextFireTime).toEqual(first?.nextFireTime);
    const late = await failure(put({ name: "again", etag: first?.etag ?? "", cron: "@daily" }));
    expect(late.detail?.reason).toBe("ETAG_MISMATCH");
  });

  test("is neither made nor replaced by a put that does not ask for it", async () => {
    const of = (more: object) =>
      schedules.putSchedule({ schedule: { name: "x", cron: "@daily", job }, ...more });
    expect((await failure(of({}))).detail?.reason).toBe("SCHEDULE_NOT_FOUND");
    expect(await of({ createOnly: true, validateOnly: true })).toMatchObject({ created: true });
    expect((await failure(schedules.getSchedule({ name: "x" }))).detail?.reason).toBe("SCHEDULE_NOT_FOUND");
    await of({ createOnly: true });
    expect((await failure(of({ createOnly: true }))).detail?.reason).toBe("SCHEDULE_EXISTS");
  });

  test("is created once by two who put it at the same time", async () => {
    const both = await Promise.all([1, 2, 3].map(() => put({ name: "race" })));
    expect(both.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(both.map(({ schedule }) => schedule?.scheduleId)).size).toBe(1);
  });

  test("put twice under one request id is put once", async () => {
    const requestId = "r-1";
    await put({ name: "once" }, { requestId });
    expect(await put({ name: "once" }, { requestId })).toMatchObject({ changed: false });
    const other = await failure(put({ name: "once", cron: "@hourly" }, { requestId }));
    expect(other.detail?.reason).toBe("IDEMPOTENCY_CONFLICT");
  });

  test("that is paused has no next time; resumed, it goes on from now", async () => {
    await put({ name: "rest", cron: "* * * * *" });
    const paused = await schedules.pauseSchedule({ name: "rest", reason: "migration" });
    expect(paused.schedule).toMatchObject({ paused: true, pauseReason: "migration" });
    expect(paused.schedule?.nextFireTime).toBeUndefined();
    await muster.database.advanceClock(3_600_000);
    const { schedule } = await schedules.resumeSchedule({ name: "rest" });
    const next = schedule?.nextFireTime && timestampMs(schedule.nextFireTime);
    expect(next).toBeGreaterThan(muster.database.nowMs());
    expect(next).toBeLessThanOrEqual(muster.database.nowMs() + 60_000);
    expect(schedule).toMatchObject({ paused: false, pauseReason: "" });
    expect((await schedules.listFires({ name: "rest" })).fires).toEqual([]);
  });

  test("is deleted once, by its etag if that is given", async () => {
    const { schedule } = await put({ name: "gone" });
    const wrong = await failure(schedules.deleteSchedule({ name: "gone", etag: "x" }));
    expect(wrong.detail?.reason).toBe("ETAG_MISMATCH");
    await schedules.deleteSchedule({ name: "gone", etag: schedule?.etag ?? "" });
    expect((await failure(schedules.deleteSchedule({ name: "gone" }))).detail?.reason).toBe(
      "SCHEDULE_NOT_FOUND",
    );
    await schedules.deleteSchedule({ name: "gone", allowMissing: true });
  });

  test("is listed by name, in pages, and by what it is", async () => {
    for (const name of ["list.a", "list.b", "list.c"]) await put({ name, labels: { list: "1" } });
    await put({ name: "list.d", job: { kind: "other" }, paused: true });
    const names = async (request: object) =>
      (await schedules.listSchedules(request)).schedules.map(({ name }) => name);
    expect(await names({ labels: { list: "1" } })).toEqual(["list.a", "list.b", "list.c"]);
    const first = await schedules.listSchedules({ text: "list.", pageSize: 2 });
    expect(first.schedules.map(({ name }) => name)).toEqual(["list.a", "list.b"]);
    expect(await names({ text: "list.", pageSize: 2, pageToken: first.nextPageToken })).toEqual([
      "list.c",
      "list.d",
    ]);
    expect(await names({ kind: "other" })).toEqual(["list.d"]);
    expect(await names({ text: "list.", state: ScheduleState.PAUSED })).toEqual(["list.d"]);
    expect(await names({ text: "list.", state: ScheduleState.ACTIVE })).toHaveLength(3);
    expect(await names({ state: ScheduleState.FAILING })).toEqual([]);
  });

  test("of another org is not there", async () => {
    await put({ name: "ours" });
    const made = await muster.client(OrgService).createOrg({ name: "theirs" });
    const transport = createMusterTransport({
      ...{ address: muster.server.apiAddress, key: made.text, httpVersion: "2" },
    });
    const theirs = createClient(ScheduleService, transport);
    const name = "ours";
    for (const call of [
      () => theirs.getSchedule({ name }),
      () => theirs.deleteSchedule({ name }),
      () => theirs.pauseSchedule({ name }),
      () => theirs.resumeSchedule({ name }),
      () => theirs.listFires({ name }),
      () => theirs.triggerSchedule({ name }),
      () => theirs.backfillSchedule({ name, startTime: { seconds: 1n }, endTime: { seconds: 2n } }),
      () => theirs.previewSchedule({ of: { case: "name", value: name } }),
      () => theirs.putSchedule({ schedule: { name, cron: "@daily", job } }),
    ]) {
      expect((await failure(call())).detail?.reason).toBe("SCHEDULE_NOT_FOUND");
    }
    expect((await theirs.listSchedules({})).schedules).toEqual([]);
  });

  test("is not put by a key that may not submit jobs", async () => {
    const { text } = await muster.client(KeyService).createKey({ name: "op", scopes: ["operate"] });
    const transport = createMusterTransport({
      ...{ address: muster.server.apiAddress, key: text, httpVersion: "2" },
    });
    const call = createClient(ScheduleService, transport).putSchedule({
      ...{ schedule: { name: "sneaky", cron: "@daily", job }, allowMissing: true },
    });
    expect((await failure(call)).detail?.reason).toBe("SCOPE_MISSING");
  });
});

describe("what is wrong with a schedule is told at once, with its field", () => {
  test.each<[string, Init, string]>([
    ["no such date", { cron: "0 0 30 2 *" }, "schedule.cron names no date that there is"],
    ["too few fields", { cron: "0 0" }, "schedule.cron must have 5 fields"],
    ["a field out of range", { cron: "61 0 * * *" }, "schedule.cron cannot be read"],
    ["every nanosecond", { cron: "@every 1ns" }, "schedule.cron must give @every a time"],
    ["every 0 s", { cron: "@every 0s" }, "schedule.cron must give @every a time from 1s to 366d"],
    ["an unknown name", { cron: "@nightly" }, "schedule.cron must be a name of @hourly"],
    ["a very long cron", { cron: "0,".repeat(500) }, "schedule.cron must have at most 200 characters"],
    ["a zone that is misspelt", { zone: "Europe/Pariss" }, "is no time zone; did you mean Europe/Paris?"],
    ["a city for a zone", { zone: "Berlin" }, "is no time zone; did you mean Europe/Berlin?"],
    ["an offset for a zone", { zone: "+02:00" }, "schedule.zone is no time zone"],
    [
      "an end before the start",
      { startTime: { seconds: 2_000_000_000n }, endTime: { seconds: 1_900_000_000n } },
      "schedule.endTime must be after startTime",
    ],
    ["an end in the past", { endTime: { seconds: 1n } }, "schedule.endTime leaves no time to fire at"],
    [
      "jitter beyond the gap",
      { cron: "* * * * *", jitter: { seconds: 60n } },
      "schedule.jitter must be less than",
    ],
    ["a catch-up limit", { catchUpLimit: 1_001 }, "schedule.catchUpLimit must be from 1 to 1000"],
    ["a job of one time", { job: { ...job, externalId: "x" } }, "schedule.job.externalId is of a single job"],
    [
      "a time of the job",
      { job: { ...job, runTime: { seconds: 1n } } },
      "schedule.job.runTime is what the cron",
    ],
    ["no kind", { job: {} }, "schedule.job.kind is required"],
    ["a name of other letters", { name: "A b" }, "schedule.name must have"],
    [
      "queue, and a dependency that cancels",
      {
        overlap: OverlapPolicy.QUEUE,
        job: { ...job, dependsOn: [{ parent: { case: "externalId", value: "e" } }] },
      },
      "schedule.job.dependencyPolicy must be RELEASE",
    ],
  ])("%s", async (_, schedule, message) => {
    const found = await violationsOf(put({ name: "wrong", ...schedule }));
    expect(found.join("\n")).toContain(message);
  });

  test("all of it together", async () => {
    const found = await violationsOf(put({ name: "", cron: "x", zone: "Mars/Base", catchUpLimit: -1 }));
    expect(found.map((one) => one.split(" ")[0])).toEqual([
      "schedule.name",
      "schedule.cron",
      "schedule.zone",
      "schedule.catchUpLimit",
    ]);
  });

  test("a project that does not exist, and a worker", async () => {
    const project = await failure(put({ name: "p", job: { ...job, project: "acme/none" } }));
    expect(project.detail?.reason).toBe("PROJECT_NOT_FOUND");
    const target = { target: { case: "worker", value: "nobody" } } as const;
    expect((await failure(put({ name: "p", job: { ...job, target } }))).detail?.reason).toBe(
      "WORKER_NOT_FOUND",
    );
  });
});

describe("a preview", () => {
  const preview = (cron: string, zone: string, from: string, count = 3) =>
    schedules.previewSchedule({
      of: { case: "schedule", value: { cron, zone } },
      ...{ count, fromTime: timestampFromDate(new Date(from)) },
    });

  test("tells of a time that does not exist, and when it fires instead", async () => {
    const { fireTimes, clockChanges, words } = await preview(
      "30 2 * * *",
      "America/New_York",
      "2027-03-13T12:00:00Z",
    );
    expect(words).toBe("At 02:30, every day");
    expect(fireTimes.map(({ wallTime, offset }) => `${wallTime} ${offset}`)).toEqual([
      "2027-03-14 03:00:00 -04:00",
      "2027-03-15 02:30:00 -04:00",
      "2027-03-16 02:30:00 -04:00",
    ]);
    expect(fireTimes[0]?.note).toBe("02:30 does not exist on this day: it fires at 03:00 instead, once");
    expect(clockChanges.map(({ affects }) => affects)).toEqual([true, false, true]);
  });

  test("tells of a time that exists twice", async () => {
    const { fireTimes } = await preview("30 1 * * *", "America/New_York", "2027-11-06T12:00:00Z");
    expect(fireTimes[0]).toMatchObject({ wallTime: "2027-11-07 01:30:00", offset: "-04:00" });
    expect(fireTimes[0]?.note).toContain("happens twice");
    expect(fireTimes[1]?.wallTime).toBe("2027-11-08 01:30:00");
  });

  test("of a saved schedule goes by its own times; and says what is wrong with a count", async () => {
    await put({
      name: "seen",
      cron: "@every 90s",
      startTime: timestampFromDate(new Date("2030-01-01T00:00:00Z")),
    });
    const { fireTimes } = await schedules.previewSchedule({ of: { case: "name", value: "seen" }, count: 2 });
    expect(fireTimes.map(({ wallTime }) => wallTime)).toEqual(["2030-01-01 00:00:00", "2030-01-01 00:01:30"]);
    const wrong = schedules.previewSchedule({ of: { case: "name", value: "seen" }, count: 1_001 });
    expect(await violationsOf(wrong)).toEqual(["count must be from 0 to 1000"]);
    expect(await violationsOf(schedules.previewSchedule({}))).toEqual(["name or schedule is required"]);
  });
});
