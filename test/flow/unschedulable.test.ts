import { readError } from "@muster/client/errors";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { insertWorkerRow } from "../support/rows.ts";
import { runCli } from "../tui/run-cli.ts";

/*
 * What can never be scheduled is refused by the API and in the terminal, with what is wrong and where; nothing of it
 * is kept.
 */

let muster: TestServer;
/** A worker of another org. */
let theirs = "";
beforeAll(async () => {
  muster = await startTestServer();
  const { database } = muster;
  theirs = encodeId("worker", await insertWorkerRow(database, await database.orgId(), { name: "theirs" }));
});
afterAll(() => muster.close());

const submit = (job: Parameters<ReturnType<typeof jobs>["submitJob"]>[0]["job"]) =>
  jobs().submitJob({ job: { kind: "k", ...job } });
const jobs = () => muster.client(JobService);
const longSkill = "x".repeat(300);
const onRef = (ref: string) => [{ parent: { case: "ref" as const, value: ref } }];

const cases: readonly {
  readonly name: string;
  readonly call: () => Promise<unknown>;
  /** The code and what the message and its violations tell. */
  readonly reason: string;
  readonly told: readonly RegExp[];
  readonly line: () => readonly string[];
  readonly stdin?: string;
  readonly printed: RegExp;
}[] = [
  {
    name: "negative points",
    call: () => submit({ points: -3 }),
    reason: "VALIDATION_FAILED",
    told: [/job\.points.*from 1 to 10000/],
    line: () => ["job", "submit", "k", "--points", "-3"],
    printed: /points/,
  },
  {
    name: "a project that does not exist",
    call: () => submit({ project: "acme/nowhere" }),
    reason: "PROJECT_NOT_FOUND",
    told: [/job\.project.*acme\/nowhere/],
    line: () => ["job", "submit", "k", "--project", "acme/nowhere"],
    printed: /acme\/nowhere/,
  },
  {
    name: "a worker of another org",
    call: () => submit({ target: { target: { case: "worker", value: theirs } } }),
    reason: "WORKER_NOT_FOUND",
    told: [/job\.target\.worker/],
    line: () => ["job", "submit", "k", "--worker", theirs],
    printed: /job\.target\.worker/,
  },
  {
    name: "a cap of 0",
    call: () => muster.client(ProjectService).putProject({ project: { name: "acme/web", maxOpenPrs: 0 } }),
    reason: "VALIDATION_FAILED",
    told: [/maxOpenPrs/],
    line: () => ["project", "create", "acme/web", "--max-open-prs", "0"],
    printed: /muster queue pause/,
  },
  {
    name: "a cycle",
    call: () =>
      muster.client(BatchService).submitBatch({
        jobs: [
          { kind: "k", ref: "a", dependsOn: onRef("b") },
          { kind: "k", ref: "b", dependsOn: onRef("a") },
        ],
      }),
    reason: "DEPENDENCY_CYCLE",
    told: [/a → b → a/],
    line: () => ["job", "submit", "-f", "-"],
    stdin: '{"kind":"k","ref":"a","dependsOn":["b"]}\n{"kind":"k","ref":"b","dependsOn":["a"]}\n',
    printed: /a → b → a/,
  },
  {
    name: "a skill of 300 characters",
    call: () => submit({ requiredSkills: [longSkill] }),
    reason: "VALIDATION_FAILED",
    told: [/job\.requiredSkills\[0\].*1 to 100 characters/],
    line: () => ["job", "submit", "k", "--skill", longSkill],
    printed: /100 characters/,
  },
];

test.each(cases)("$name is refused", async ({ call, reason, told, line, stdin, printed }) => {
  const error = readError(await call().catch((cause: unknown) => cause));
  expect(error.detail?.reason).toBe(reason);
  const text = JSON.stringify([error.message, error.detail?.violations], (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  for (const part of told) expect(text).toMatch(part);
  const env = { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key };
  const ran = await runCli(line(), stdin === undefined ? { env } : { env, stdin });
  expect(ran).toMatchObject({ stdout: "", stderr: expect.stringMatching(printed) });
  expect(ran.exitCode).not.toBe(0);
  const [kept] = await muster.database.admin`select
    (select count(*) from muster.jobs) + (select count(*) from muster.projects) as count`;
  expect(Number(kept?.["count"])).toBe(0);
});
