import { describe, expect, test } from "vitest";
import { type JobRequest, jobViolations, keyViolations } from "../../../server/domain/rules/job-spec.ts";

const limits = { heartbeatMs: 5_000 };
const dayMs = 86_400_000;

function job(overrides: Partial<JobRequest> = {}): JobRequest {
  return {
    kind: "shell.run",
    title: "",
    payload: "null",
    queue: "default",
    priority: 128,
    points: 1,
    skills: [],
    project: null,
    labels: {},
    externalId: null,
    runAt: null,
    deadline: null,
    softTimeoutMs: null,
    hardTimeoutMs: null,
    exclusive: false,
    atMostOnce: false,
    instructions: [],
    opensPullRequest: false,
    pool: null,
    dependsOn: [],
    dependencyPolicy: "cancel",
    ref: null,
    ...overrides,
  };
}

function wrong(overrides: Partial<JobRequest>): string[] {
  return jobViolations(job(overrides), "job", limits).map(({ field, message }) => `${field} ${message}`);
}

const many = (count: number): string[] => Array.from({ length: count }, (_, n) => `s${n}`);
const labels = (count: number) => Object.fromEntries(many(count).map((key) => [key, ""]));

describe("a job", () => {
  test.each<[string, Partial<JobRequest>]>([
    ["with nothing but a kind", {}],
    ["with the longest kind", { kind: "a".repeat(100) }],
    ["with every character of a kind", { kind: "a-z_0.9" }],
    ["with the longest title, in characters", { title: "🙂".repeat(200) }],
    ["with priority 0", { priority: 0 }],
    ["with priority 255", { priority: 255 }],
    ["with 10,000 points", { points: 10_000 }],
    [
      "with 32 skills, labels and instructions",
      { skills: many(32), labels: labels(32), instructions: many(32) },
    ],
    ["with a project in a group", { project: "Acme/web.site-1" }],
    ["with the longest label", { labels: { ["k".repeat(63)]: "v".repeat(255) } }],
    [
      "with a soft timeout of 7 d, and the hard one that follows",
      { softTimeoutMs: 7 * dayMs, hardTimeoutMs: 7 * dayMs + 10_000 },
    ],
    ["with equal timeouts", { softTimeoutMs: 1_000, hardTimeoutMs: 1_000 }],
    ["whose deadline is in the past", { deadline: new Date(0) }],
    [
      "with settings of its own",
      { maxAttempts: 100, backoffInitialMs: 0, reclaimAfterMs: 10_000, leaseTtlMs: 1_000 },
    ],
    ["with an external id of other scripts", { externalId: "заказ №7" }],
  ])("%s is right", (_name, overrides) => {
    expect(wrong(overrides)).toEqual([]);
  });

  test.each<[string, Partial<JobRequest>, string]>([
    ["no kind", { kind: "" }, "job.kind is required"],
    ["an uppercase kind", { kind: "Shell" }, "job.kind must have 1 to 100 characters of a-z 0-9 . _ -"],
    ["a long kind", { kind: "a".repeat(101) }, "job.kind must have 1 to 100 characters of a-z 0-9 . _ -"],
    ["a long title", { title: "🙂".repeat(201) }, "job.title must have at most 200 characters"],
    ["NUL in its title", { title: "a\0b" }, "job.title must not have control characters"],
    ["a line break in its title", { title: "a\nb" }, "job.title must not have control characters"],
    ["half a surrogate pair in its title", { title: "\ud800" }, "job.title must be well-formed Unicode"],
    ["a space in its queue", { queue: "a b" }, "job.queue must have 1 to 100 characters of a-z 0-9 . _ -"],
    ["priority 256", { priority: 256 }, "job.priority must be from 0 to 255"],
    ["priority -1", { priority: -1 }, "job.priority must be from 0 to 255"],
    ["no points", { points: 0 }, "job.points must be from 1 to 10000"],
    ["too many points", { points: 10_001 }, "job.points must be from 1 to 10000"],
    ["33 skills", { skills: many(33) }, "job.requiredSkills must have at most 32 entries"],
    [
      "an empty skill",
      { skills: ["gpu", ""] },
      "job.requiredSkills[1] must have 1 to 100 characters of a-z 0-9 . _ -",
    ],
    ["33 labels", { labels: labels(33) }, "job.labels must have at most 32 entries"],
    ["an empty label", { labels: { "": "x" } }, "job.labels has a key that must not be empty"],
    ["NUL in a label", { labels: { a: "\0" } }, 'job.labels["a"] must not have control characters'],
    ["a long label", { labels: { a: "v".repeat(256) } }, 'job.labels["a"] must have at most 255 characters'],
    [
      "a project with a space",
      { project: "a b" },
      "job.project must have 1 to 200 characters of a-z A-Z 0-9 . _ - /",
    ],
    ["an uppercase pool", { pool: "OpenAI" }, "job.pool must have 1 to 100 characters of a-z 0-9 . _ -"],
    ["a long external id", { externalId: "x".repeat(201) }, "job.externalId must have 1 to 200 characters"],
    ["a short soft timeout", { softTimeoutMs: 999 }, "job.softTimeout must be from 1s to 7d"],
    ["a long hard timeout", { hardTimeoutMs: 8 * dayMs }, "job.hardTimeout must be from 1s to 7d"],
    [
      "a hard timeout below the soft one",
      { softTimeoutMs: 5_000, hardTimeoutMs: 4_000 },
      "job.hardTimeout must not be below the soft timeout",
    ],
    [
      "a deadline before it starts",
      { runAt: new Date(2_000), deadline: new Date(2_000) },
      "job.deadline must be after runTime",
    ],
    ["no attempts", { maxAttempts: 0 }, "job.retry.maxAttempts must be a whole number from 1 to 100"],
    [
      "a short reclaim",
      { reclaimAfterMs: 9_999 },
      "job.reclaimAfter must be at least two heartbeats (10000ms)",
    ],
    ["a long lease", { leaseTtlMs: 8 * dayMs }, "job.leaseTtl must be from 1s to 7d"],
  ])("with %s is refused", (_name, overrides, message) => {
    expect(wrong(overrides)).toEqual([message]);
  });

  test("tells all that is wrong with it at once", () => {
    expect(wrong({ kind: "", points: 0, priority: 300, skills: ["A"], labels: { a: "\0" } })).toHaveLength(5);
  });
});

test("keys have 1 to 200 characters", () => {
  expect(keyViolations("idempotencyKey", "k".repeat(200))).toEqual([]);
  expect(keyViolations("idempotencyKey", "k".repeat(201))).toEqual([
    { field: "idempotencyKey", message: "must have 1 to 200 characters" },
  ]);
});
