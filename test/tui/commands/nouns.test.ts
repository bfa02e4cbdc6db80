import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ArtifactSchema } from "@muster/client/v1/artifact_service";
import { JobState } from "@muster/client/v1/job";
import { WorkerSchema, WorkerState } from "@muster/client/v1/worker";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ApiPeer, startApiPeer } from "../../support/api-peer.ts";
import { makeDirectory, type RunInput, runCli, startCli } from "../run-cli.ts";

let peer: ApiPeer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;

beforeEach(async () => {
  peer = await startApiPeer();
  directory = makeDirectory();
  input = { env: { MUSTER_ADDRESS: peer.address, MUSTER_API_KEY: peer.key }, cwd: directory.path };
});

afterEach(async () => {
  await peer.close();
  directory.remove();
});

const inDirectory = (name: string): string => join(directory.path, name);

describe("worker", () => {
  test("create prints the key alone on stdout, or keeps it in a new file for this user", async () => {
    const shown = await runCli(["worker", "create", "gpu-1"], input);
    expect(shown.stdout).toBe("mk_worker_secret\n");
    expect(shown.stderr).toContain("it is not shown again");
    const kept = await runCli(["worker", "create", "gpu-2", "--key-file", "gpu-2.key", "--json"], input);
    expect(kept.stdout).not.toContain("mk_worker_secret");
    expect(readFileSync(inDirectory("gpu-2.key"), "utf8")).toBe("mk_worker_secret\n");
    expect(statSync(inDirectory("gpu-2.key")).mode & 0o777).toBe(0o600);
  });

  test("create makes no worker when the key file is there already", async () => {
    writeFileSync(inDirectory("old.key"), "x");
    const ran = await runCli(["worker", "create", "gpu-1", "--key-file", "old.key"], input);
    expect(ran.exitCode).toBe(2);
    expect(peer.workers.size).toBe(0);
    expect(readFileSync(inDirectory("old.key"), "utf8")).toBe("x");
  });

  test.each(["worker", "key"])("%s create leaves no key file when none is made", async (noun) => {
    peer.failNext(new ConnectError("no", Code.PermissionDenied));
    const scope = noun === "key" ? ["--scope", "read"] : [];
    const ran = await runCli([noun, "create", "gpu-1", "--key-file", "new.key", ...scope], input);
    expect(ran.exitCode).toBe(4);
    expect(existsSync(inDirectory("new.key"))).toBe(false);
  });

  test("list and get show what a worker does and can", async () => {
    const worker = create(WorkerSchema, {
      workerId: "wrk_1",
      name: "gpu-1",
      state: WorkerState.BUSY,
      skills: [{ name: "gpu" }, { name: "blender\u0007" }],
      kinds: ["shell.run"],
      capacity: { slots: 2, points: 16 },
      leases: 1,
      pointsUsed: 8,
      version: "0.1.0",
      seenTime: timestampNow(),
    });
    peer.workers.set(worker.workerId, worker);
    const list = await runCli(["worker", "list"], input);
    expect(list.stdout.split("\n")[1]).toBe("gpu-1\tBUSY\t1/2\t8/16\t0s\t0.1.0\tgpu blender␇");
    const get = await runCli(["worker", "get", "gpu-1"], input);
    expect(get.stdout).toContain("id\twrk_1\nstate\tBUSY\njobs\t1 of 2 slots\n");
    expect((await runCli(["worker", "get", "wrk_1", "-o", "name"], input)).stdout).toBe("wrk_1\n");
    expect((await runCli(["worker", "get", "nobody"], input)).exitCode).toBe(3);
  });
});

describe("worker drain and resume", () => {
  function addWorker(init: { name: string; leases?: number }) {
    const worker = create(WorkerSchema, { workerId: `wrk_${init.name}`, state: WorkerState.BUSY, ...init });
    peer.workers.set(worker.workerId, worker);
    return worker;
  }

  test("say what is left, by name or id, and what each of several came to", async () => {
    addWorker({ name: "gpu-1", leases: 2 });
    addWorker({ name: "gpu-2" });
    const drained = await runCli(["worker", "drain", "gpu-1", "wrk_gpu-2", "--reason", "driver"], input);
    expect(drained.stdout).toBe("gpu-1\tDRAINING\t2 jobs left\ngpu-2\tDRAINING\tdrained: it holds no job\n");
    const list = await runCli(["worker", "list"], input);
    expect(list.stdout).toContain("\tWHY\n");
    expect(list.stdout.split("\n")[1]).toMatch(/^gpu-1\tDRAINING\t.*\tdrain requested$/);
    expect((await runCli(["worker", "get", "gpu-1"], input)).stdout).toContain(
      "drain\trequested; muster worker",
    );
    const resumed = await runCli(["worker", "resume", "gpu-1", "nobody", "gpu-2"], input);
    expect(resumed.stdout).toBe("gpu-1\tresumed\ngpu-2\tresumed\n");
    expect(resumed.exitCode).toBe(12);
    expect((await runCli(["worker", "list"], input)).stdout).not.toContain("WHY");
    expect((await runCli(["worker", "drain", "nobody"], input)).exitCode).toBe(3);
  });

  test("--wait ends when the last job has, or with exit code 7 at --timeout", async () => {
    const worker = addWorker({ name: "gpu-1", leases: 1 });
    const late = await runCli(["worker", "drain", "gpu-1", "--wait", "--timeout", "500ms"], input);
    expect(late.exitCode).toBe(7);
    expect(late.stderr).toContain("the drain of gpu-1");
    const running = startCli(["worker", "drain", "gpu-1", "--wait", "--json"], input);
    await peer.called("DrainWorker", 2);
    worker.leases = 0;
    expect(await running.exit).toBe(0);
    expect(JSON.parse(running.stdout())).toMatchObject({ worker: { drainRequested: true } });
  });

  test("get says why a worker is quarantined", async () => {
    const worker = addWorker({ name: "gpu-1" });
    Object.assign(worker, {
      state: WorkerState.QUARANTINED,
      quarantineReason: "it lost three jobs\u0007",
      quarantineTime: timestampNow(),
    });
    const get = await runCli(["worker", "get", "gpu-1"], input);
    expect(get.stdout).toContain("state\tQUARANTINED\n");
    expect(get.stdout).toContain("quarantine\tit lost three jobs␇, since ");
  });
});

describe("batch and dlq", () => {
  test("batch list, get and wait", async () => {
    await runCli(["job", "submit", "-f", "-"], { ...input, stdin: '{"kind":"a"}' });
    const [batchId = ""] = peer.batches.keys();
    const [jobId = ""] = peer.jobs.keys();
    expect((await runCli(["batch", "list", "-o", "name"], input)).stdout).toBe(`${batchId}\n`);
    expect((await runCli(["batch", "get", batchId], input)).stdout).toContain("pending\t1\n");
    const running = startCli(["batch", "wait", batchId, "--json"], input);
    await peer.called("WaitBatch", 2);
    peer.changeJob(jobId, { state: JobState.SUCCEEDED });
    expect(await running.exit).toBe(0);
    expect(JSON.parse(running.stdout())).toMatchObject({ done: true, batch: { succeeded: 1 } });
  });

  test("dlq list, retry and discard", async () => {
    for (const jobId of ["job_1", "job_2"]) {
      peer.addJob({ jobId, state: JobState.DEAD, spec: { kind: "a" }, error: { code: "E", message: "m" } });
    }
    const list = await runCli(["dlq", "list"], input);
    expect(list.stdout.split("\n")[1]).toBe("job_1\ta\tfailures\tf00d\t0s\tE: m");
    expect((await runCli(["dlq", "retry", "job_1", "-q"], input)).exitCode).toBe(0);
    expect((await runCli(["dlq", "discard", "job_2"], input)).stdout).toBe("job_2\tdiscarded\n");
    const none = await runCli(["dlq", "list"], input);
    expect(none).toMatchObject({ exitCode: 0, stderr: "No dead letters.\n" });
  });
});

describe("artifact", () => {
  const bytes = Buffer.from([0, 1, 2, 255]);

  function add(name: string, change: { sha256?: string } = {}): void {
    const artifact = create(ArtifactSchema, {
      artifactId: "art_1",
      jobId: "job_1",
      name,
      sizeBytes: BigInt(bytes.length),
      sha256: createHash("sha256").update(bytes).digest("hex"),
      ...change,
    });
    peer.artifacts.set("art_1", Object.assign(artifact, { bytes }));
  }

  test("get writes a checked file of its name, and replaces only with --force", async () => {
    add("frame.bin");
    expect((await runCli(["artifact", "list", "job_1", "-o", "name"], input)).stdout).toBe("art_1\n");
    const ran = await runCli(["artifact", "get", "art_1"], input);
    expect(ran).toMatchObject({ exitCode: 0, stdout: "frame.bin\n" });
    expect(readFileSync(inDirectory("frame.bin"))).toEqual(bytes);
    expect((await runCli(["artifact", "get", "art_1"], input)).stderr).toContain(
      "frame.bin is there already",
    );
    expect((await runCli(["artifact", "get", "art_1", "--force"], input)).exitCode).toBe(0);
  });

  test.each(["../up", "a/b", "..", "-rf", "a\nb"])(
    "get does not let the name %j choose the place",
    async (name) => {
      add(name);
      expect((await runCli(["artifact", "get", "art_1"], input)).stdout).toBe("art_1\n");
      expect(readdirSync(directory.path)).toEqual(["art_1"]);
    },
  );

  test("get leaves nothing behind when the bytes are not the right ones", async () => {
    add("frame.bin", { sha256: "00".repeat(32) });
    const ran = await runCli(["artifact", "get", "art_1"], input);
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toContain("size or SHA-256 differ");
    expect(readdirSync(directory.path)).toEqual([]);
  });

  test("get does not write bytes to a terminal, and prints the address on demand", async () => {
    add("frame.bin");
    const ran = await runCli(["artifact", "get", "art_1", "--to", "-"], {
      ...input,
      terminal: { columns: 80, rows: 24 },
    });
    expect(ran.exitCode).toBe(2);
    const url = await runCli(["artifact", "get", "art_1", "--url"], input);
    expect(url.stdout).toBe(`${peer.address}/artifacts/art_1\n`);
  });
});

describe("status and top without a terminal", () => {
  beforeEach(() => {
    peer.changeStatus({
      org: "acme",
      workers: { online: 2, busy: 1, idle: 1, slots: 4n, slotsUsed: 1n, points: 4n, pointsUsed: 1n },
      jobs: [
        { state: JobState.READY, count: 3_204n },
        { state: JobState.RUNNING, count: 1n },
      ],
      flow: { submitted: 10n, submittedLastMinute: 5n, succeededLastMinute: 4n },
      projects: [{ project: "acme/web", openPrs: 2, maxOpenPrs: 5 }],
      coordinators: [{ coordinatorId: "c", version: "0.1.0" }],
      time: timestampNow(),
      workerList: [{ name: "w1", state: WorkerState.BUSY }],
      running: [{ jobId: "job_1", state: JobState.RUNNING, spec: { kind: "a" } }],
    });
  });

  test("status shows one page", async () => {
    const { stdout } = await runCli(["status"], input);
    expect(stdout).toContain("workers\t2 online (1 busy, 1 idle), 0 draining, 0 stale, 0 offline\n");
    expect(stdout).toContain("jobs\tREADY 3,204, RUNNING 1\n");
    expect(stdout).toContain("project\tacme/web: 2 of 5 pull requests open\n");
  });

  test("status --watch prints a line for each change until Ctrl-C", async () => {
    const running = startCli(["status", "--watch"], input);
    await running.printed("READY 3,204");
    peer.changeStatus({ jobs: [{ state: JobState.READY, count: 1n }] });
    await running.printed("READY 1 ");
    running.interrupt();
    expect(await running.exit).toBe(130);
    expect(running.stdout().trim().split("\n")).toHaveLength(2);
  });

  test("top prints a snapshot and ends with 0", async () => {
    const ran = await runCli(["top"], input);
    expect(ran).toMatchObject({ exitCode: 0, stderr: "" });
    expect(ran.stdout).toContain("w1\tBUSY");
    expect(ran.stdout).toContain("job_1\tRUNNING");
    expect(ran.stdout).not.toContain("\u001b");
  });

  test("top --watch -o jsonl streams the data behind it", async () => {
    const running = startCli(["top", "--watch", "-o", "jsonl"], input);
    await running.printed("\n");
    running.interrupt();
    expect(await running.exit).toBe(130);
    const [line = ""] = running.stdout().split("\n");
    expect(JSON.parse(line)).toMatchObject({ status: { org: "acme", running: [{ jobId: "job_1" }] } });
  });
});

describe("proto export", () => {
  test("writes every .proto, again without a word, and replaces others only with --force", async () => {
    const ran = await runCli(["proto", "export", "out"], input);
    expect(ran.exitCode).toBe(0);
    expect(ran.stdout).toContain(join("out", "muster", "v1", "job.proto"));
    expect(existsSync(inDirectory("out/muster/v1/worker_service.proto"))).toBe(true);
    expect((await runCli(["proto", "export", "out"], input)).exitCode).toBe(0);
    writeFileSync(inDirectory("out/muster/v1/job.proto"), "mine");
    const refused = await runCli(["proto", "export", "out"], input);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain(`why: ${join("muster", "v1", "job.proto")}: differs`);
    expect(readFileSync(inDirectory("out/muster/v1/job.proto"), "utf8")).toBe("mine");
    expect((await runCli(["proto", "export", "out", "--force"], input)).exitCode).toBe(0);
    expect(readFileSync(inDirectory("out/muster/v1/job.proto"), "utf8")).toContain("package muster.v1;");
  });
});
