import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import { type Status, StatusSchema } from "@muster/client/v1/status_service";
import { WorkerState } from "@muster/client/v1/worker";
import { createStatusStore, type StatusState } from "../../../tui/top/store/status.ts";

/** A moment at which nothing rounds. */
export const sampleMs = Date.UTC(2026, 10, 22, 14, 0, 0);

const at = (secondsAgo: number) => timestampFromMs(sampleMs - secondsAgo * 1000);

/** A status with a worker in each state, hostile names, and more running jobs than fit. */
export function sampleStatus(
  change: { readonly atMs?: number; readonly submitted?: bigint; readonly succeeded?: bigint } = {},
): Status {
  const worker = (name: string, state: WorkerState, leases: number, skills: readonly string[]) => ({
    workerId: `wrk_${name}`,
    name,
    state,
    leases,
    pointsUsed: leases * 4,
    capacity: { slots: 2, points: 16 },
    skills: skills.map((skill) => ({ name: skill })),
    seenTime: at(2),
    version: "0.1.0",
    host: `${name}.lan`,
  });
  const job = (n: number, kind: string, fraction: number | undefined, message: string) => ({
    jobId: `job_01jd9y3f4k8qkx2m00000000${String(n).padStart(2, "0")}`,
    state: JobState.RUNNING,
    spec: { kind, title: n === 1 ? "shot 412" : "" },
    attempt: n,
    workerName: "gpu-1",
    startTime: at(n * 61),
    progress: { message, ...(fraction === undefined ? {} : { fraction }) },
    cancelRequested: n === 3,
  });
  return create(StatusSchema, {
    orgId: "org_1",
    org: "acme",
    time: timestampFromMs(change.atMs ?? sampleMs),
    databaseTime: { seconds: 0n, nanos: 12_000_000 },
    workers: {
      online: 3,
      busy: 1,
      idle: 1,
      draining: 1,
      stale: 1,
      offline: 2,
      slots: 6n,
      slotsUsed: 3n,
      points: 48n,
      pointsUsed: 12n,
    },
    jobs: [
      { state: JobState.READY, count: 3_204n },
      { state: JobState.RUNNING, count: 20n },
      { state: JobState.SCHEDULED, count: 22n },
      { state: JobState.DEAD, count: 12n },
    ],
    projects: [
      { project: "acme/web", openPrs: 5, maxOpenPrs: 5 },
      { project: "acme/docs", openPrs: 1 },
    ],
    flow: {
      submitted: change.submitted ?? 19_000n,
      succeeded: change.succeeded ?? 18_422n,
      cancelled: 4n,
      dead: 12n,
      submittedLastMinute: 41n,
      succeededLastMinute: 40n,
    },
    coordinators: [
      { coordinatorId: "c1", version: "0.1.0", startTime: at(3_600), apiAddress: "http://127.0.0.1:7070" },
    ],
    workerList: [
      worker("gpu-1", WorkerState.BUSY, 2, ["gpu", "blender"]),
      worker("evil\u001b[2J\u202e", WorkerState.STALE, 0, ["x\ny"]),
      worker("漢字-very-long-worker-name", WorkerState.DRAINING, 1, ["linux"]),
      worker("laptop", WorkerState.IDLE, 0, []),
      worker("old", WorkerState.OFFLINE, 0, []),
    ],
    running: [
      job(1, "render.frame", 0.74, "frame 296/400"),
      job(2, "agent.codegen", undefined, "step 4 of 9 \u001b]0;pwned\u0007"),
      job(3, "index.repo", 0.2, ""),
      ...Array.from({ length: 17 }, (_, index) => job(index + 4, "shell.run", undefined, "")),
    ],
  });
}

/** The state of the screen after half a minute of flow. */
export function sampleState(): StatusState {
  const store = createStatusStore(sampleMs - 30_000);
  for (let second = 30; second >= 0; second--) {
    const done = 30 - second;
    const status = sampleStatus({
      atMs: sampleMs - second * 1000,
      submitted: 18_000n + BigInt(done * done),
      succeeded: 17_000n + BigInt(done * 10),
    });
    store.receive(status, sampleMs - second * 1000);
  }
  return store.state();
}
