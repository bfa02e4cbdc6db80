import { createHash } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { OrgService } from "@muster/client/v1/org_service";
import { SkillService } from "@muster/client/v1/skill_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Handler } from "../../worker/context.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const put = (name: string, body: string) => muster.client(SkillService).putSkill({ skill: { name, body } });
const skillsOf: Handler = async (ctx) =>
  (await ctx.skills()).map(({ name, digest, text }) => [name, digest === sha256(text), text]);

async function resultOf(job: { kind: string; instructions?: string[]; requiredSkills?: string[] }) {
  const { jobId } = await muster.client(JobService).submitJob({ job });
  const { result } = await muster.reach(jobId, JobState.SUCCEEDED);
  if (result?.content.case !== "data") throw new Error("no result");
  return JSON.parse(Buffer.from(result.content.value).toString());
}

describe("documents of skills", () => {
  test.each(["stream", "poll"] as const)(
    "reach the handler of who names or requires them, by %s",
    async (transport) => {
      const kind = `skills.${transport}`;
      await put("review", "# Review");
      await put("gpu", "# Use of the GPU");
      const skills = ["gpu", "fast"];
      await muster.startWorker({ handlers: { [kind]: skillsOf }, skills, transport });
      expect(await resultOf({ kind, instructions: ["review"], requiredSkills: ["fast", "gpu"] })).toEqual([
        ["review", true, "# Review"],
        ["gpu", true, "# Use of the GPU"],
      ]);
      expect(await resultOf({ kind, instructions: ["gpu"], requiredSkills: ["gpu"] })).toEqual([
        ["gpu", true, "# Use of the GPU"],
      ]);
      expect(await resultOf({ kind, requiredSkills: ["fast"] })).toEqual([]);
      expect(await resultOf({ kind })).toEqual([]);
      // What is put next is what the next job has.
      await put("review", "# Review, again");
      expect(await resultOf({ kind, instructions: ["review"] })).toEqual([
        ["review", true, "# Review, again"],
      ]);
    },
  );

  test("are read as they were offered, also when they are replaced or deleted meanwhile", async () => {
    await put("kept", "# As offered");
    const started = Promise.withResolvers<void>();
    const changed = Promise.withResolvers<void>();
    const handler: Handler = async (ctx) => {
      started.resolve();
      await changed.promise;
      return (await ctx.skills()).map(({ text }) => text);
    };
    await muster.startWorker({ handlers: { "skills.kept": handler } });
    const result = resultOf({ kind: "skills.kept", instructions: ["kept"] });
    await started.promise;
    await put("kept", "# Changed");
    await muster.client(SkillService).deleteSkill({ name: "kept" });
    changed.resolve();
    expect(await result).toEqual(["# As offered"]);
  });

  test("that are gone when a job starts fail its handler, in words; one that does not ask is not bothered", async () => {
    await put("gone", "# Gone");
    const job = { instructions: ["gone"], retry: { maxAttempts: 1 } };
    const submit = (kind: string) => muster.client(JobService).submitJob({ job: { ...job, kind } });
    const asks = await submit("skills.asks");
    const asksNot = await submit("skills.asks-not");
    await muster.client(SkillService).deleteSkill({ name: "gone" });
    await muster.startWorker({ handlers: { "skills.asks": skillsOf, "skills.asks-not": () => "done" } });
    const dead = await muster.reach(asks.jobId, JobState.DEAD);
    expect(dead.error).toMatchObject({ code: "SKILL_NOT_FOUND", message: "the skill gone has no document" });
    await muster.reach(asksNot.jobId, JobState.SUCCEEDED);
  });

  test("are read by the workers of their org alone", async () => {
    await put("ours", "# Ours");
    const { text: key } = await muster.client(OrgService).createOrg({ name: "others" });
    const address = muster.server.apiAddress;
    const admin = createMusterClient(WorkerAdminService, { address, key });
    const read = async (workerKey: string) => {
      const worker = createMusterClient(WorkerService, { address, key: workerKey });
      const answer = await worker.getSkillDocument({ skill: "ours", digest: sha256("# Ours") });
      return answer.document?.text;
    };
    const codeOf = (call: Promise<unknown>) => call.catch((error: unknown) => ConnectError.from(error).code);
    expect(await codeOf(read((await admin.createWorker({ name: "theirs" })).key))).toBe(Code.NotFound);
    expect(await codeOf(read(key))).toBe(Code.NotFound);
    expect(await read(await muster.workerKey("reader"))).toBe("# Ours");
  });
});
