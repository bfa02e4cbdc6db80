import { BatchService } from "@muster/client/v1/batch_service";
import { EnrolmentService } from "@muster/client/v1/enrolment_service";
import { ScheduleService } from "@muster/client/v1/schedule_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isLikePattern } from "../../server/domain/rules/worker-limits.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

/** Which fields of a call are wrong, and the processor time that client and coordinator took for it together. */
async function refusal(call: () => Promise<unknown>): Promise<{ fields: readonly string[]; cpuMs: number }> {
  const before = process.cpuUsage();
  const { detail } = await failure(call());
  const { user, system } = process.cpuUsage(before);
  return { fields: detail?.violations.map(({ field }) => field) ?? [], cpuMs: (user + system) / 1_000 };
}

/** Above what a call costs anyway, and below what any explosion takes. */
const soonMs = 500;

describe("S31 inputs that are searched are bounded: cron", () => {
  const texts = [
    "@every 1ns",
    "@every 0s",
    "@every 999999999999999999999h",
    "* * * * * * * * *",
    "*/0 * * * *",
    "99 * * * *",
    "0-999999999 * * * *",
    "5-1 * * * *",
    "0 0 30 2 *",
    "0 0 31 2,4,6,9,11 *",
    "0 0 * * MON#9",
    "0 0 -1 * *",
    `${"0,".repeat(100_000)}0 * * * *`,
    `${"* ".repeat(100_000)}`,
    `${"1-59/1,".repeat(10_000)}1 * * * *`,
    "@".repeat(100_000),
    "TZ=../../../etc/passwd * * * * *",
  ];

  test.each(texts.map((text) => [text.slice(0, 40), text]))("%s is refused at once", async (_shown, cron) => {
    const schedule = { name: "x", cron, job: { kind: "x" } };
    const preview = () =>
      muster
        .client(ScheduleService)
        .previewSchedule({ of: { case: "schedule", value: schedule }, count: 1_000 });
    const { fields, cpuMs } = await refusal(preview);
    expect(fields.some((field) => field.endsWith("cron"))).toBe(true);
    expect(cpuMs).toBeLessThan(soonMs);
  });

  test.each(["../../etc/passwd", `Europe/${"x".repeat(100_000)}`, "+99:99", "UTC\u0000"])(
    "the zone %# is refused at once",
    async (zone) => {
      const schedule = { name: "x", cron: "* * * * *", zone, job: { kind: "x" } };
      const { fields, cpuMs } = await refusal(() =>
        muster.client(ScheduleService).previewSchedule({ of: { case: "schedule", value: schedule } }),
      );
      expect(fields.some((field) => field.endsWith("zone"))).toBe(true);
      expect(cpuMs).toBeLessThan(soonMs);
    },
  );

  test("one that fires once in many years is looked at no longer than that", async () => {
    const schedule = { name: "x", cron: "0 0 29 2 MON", job: { kind: "x" } };
    const before = process.cpuUsage();
    await muster
      .client(ScheduleService)
      .previewSchedule({ of: { case: "schedule", value: schedule }, count: 1_000 })
      .catch(() => {});
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(5_000);
  });
});

describe("S31 inputs that are searched are bounded: labels, patterns, edges", () => {
  test("labels have a number and a length", async () => {
    const labels = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`l${n}`, "x"]));
    for (const wrong of [labels, { ["k".repeat(10_000)]: "x" }, { k: "v".repeat(100_000) }]) {
      const { fields, cpuMs } = await refusal(() =>
        muster.client(BatchService).submitBatch({ jobs: [{ kind: "x", labels: wrong }] }),
      );
      expect(fields[0]).toContain("labels");
      expect(cpuMs).toBeLessThan(soonMs);
    }
  });

  test("a pattern of names is bounded, and matched without going back", async () => {
    const limits = { skills: { names: ["x"] } };
    const namePattern = "*a".repeat(10_000);
    const { fields } = await refusal(() =>
      muster.client(EnrolmentService).createEnrolment({ name: "x", limits, namePattern }),
    );
    expect(fields).toContain("namePattern");
    const before = process.cpuUsage();
    for (let n = 0; n < 1_000; n++)
      expect(isLikePattern(`${"a".repeat(60)}b`, `${"*a".repeat(30)}`)).toBe(false);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(soonMs);
  });

  test("a batch has so many edges at most, and none that goes round", async () => {
    const batches = muster.client(BatchService);
    const parents = Array.from({ length: 400 }, (_, n) => ({ kind: "x", ref: `p${n}` }));
    const dependsOn = parents.map(({ ref }) => ({ parent: { case: "ref" as const, value: ref } }));
    const children = Array.from({ length: 300 }, () => ({ kind: "x", dependsOn }));
    const many = await refusal(() => batches.submitBatch({ jobs: [...parents, ...children] }));
    expect(many.fields.length).toBeGreaterThan(0);
    const ring = Array.from({ length: 5_000 }, (_, n) => ({
      kind: "x",
      ref: `k${n}`,
      dependsOn: [{ parent: { case: "ref" as const, value: `k${(n + 1) % 5_000}` } }],
    }));
    const round = await refusal(() => batches.submitBatch({ jobs: ring }));
    expect(round.fields.length).toBeGreaterThan(0);
    const [row] = await muster.database.admin`select count(*)::int as n from muster.jobs`;
    expect(row?.["n"]).toBe(0);
  }, 60_000);
});
