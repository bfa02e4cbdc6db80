import { create } from "@bufbuild/protobuf";
import { type Job, JobSchema } from "@muster/client/v1/job";
import { type Worker, WorkerSchema } from "@muster/client/v1/worker";
import { expect, test } from "vitest";
import { whyNotTaken } from "../../../tui/commands/job-waiting.ts";

const job = (spec: object = {}): Job => create(JobSchema, { spec: { kind: "a", points: 1, ...spec } });
const worker = (overrides: object = {}): Worker =>
  create(WorkerSchema, { kinds: ["a"], skills: [], capacity: { slots: 1, points: 4 }, ...overrides });

test.each([
  ["nobody is there", job(), [], /^No worker is online/],
  ["nobody has the kind", job(), [worker({ kinds: ["b", "c"] })], /handler for a \(1 online, for: b, c\)/],
  [
    "nobody has all skills",
    job({ requiredSkills: ["gpu", "x"] }),
    [worker({ skills: [{ name: "gpu" }] })],
    /needs the skills gpu, x/,
  ],
  ["nobody takes so many points", job({ points: 9 }), [worker()], /has 9 points/],
  ["all are busy", job(), [worker(), worker()], /room on one of the 2 workers/],
])("says why a ready job is not taken: %s", (_, waiting, workers, why) => {
  expect(whyNotTaken(waiting, workers)).toMatch(why);
});

test("shows no escape sequence of a worker's", () => {
  expect(whyNotTaken(job(), [worker({ kinds: ["\u001b[31mred"] })])).not.toContain("\u001b");
});
