import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside the tree, so that the packages are found.
const folder = join(root, "test", `.readme-${process.pid}`);
let muster: TestServer;

beforeAll(async () => {
  muster = await startTestServer();
  await mkdir(folder);
});
afterAll(async () => {
  await muster.close();
  await rm(folder, { recursive: true, force: true });
});

test("the worker and the client of the README work as they stand there", async () => {
  const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(
    (one) => one[1],
  );
  const [worker, client] = blocks;
  if (!worker || !client) throw new Error("two programs");
  const lines = (text: string) => text.split("\n").filter((line) => line !== "").length;
  expect([lines(worker), lines(client)]).toEqual([12, 8]);
  const env = {
    ...process.env,
    MUSTER_WORKER_ADDRESS: muster.server.workerAddress,
    MUSTER_ADDRESS: muster.server.apiAddress,
    MUSTER_WORKER_KEY: await muster.workerKey("readme"),
    MUSTER_API_KEY: muster.key,
    XDG_STATE_HOME: folder,
  };
  const start = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text);
    return spawn(process.execPath, [path], { env, stdio: ["ignore", "pipe", "inherit"] });
  };
  const daemon = await start("worker.ts", worker);
  try {
    const online = async () =>
      (await muster.client(WorkerAdminService).listWorkers({ online: true })).workers.length;
    await expect.poll(online, { timeout: 15_000 }).toBe(1);
    const program = await start("client.ts", client);
    let said = "";
    program.stdout.on("data", (chunk) => {
      said += String(chunk);
    });
    const code = await new Promise((resolve) => program.on("exit", resolve));
    expect({ code, said }).toEqual({ code: 0, said: 'true {"resized":{"file":"cat.png"}}\n' });
    const { jobs } = await muster.client(JobService).listJobs({ filter: { kind: "image.resize" } });
    expect(jobs.map((job) => job.state)).toEqual([JobState.SUCCEEDED]);
  } finally {
    daemon.kill("SIGKILL");
  }
});
