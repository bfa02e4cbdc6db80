import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { WorkerSchema, WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { newId, notFound, page } from "./api-peer-rows.ts";
import type { Api } from "./api-peer-state.ts";

/** Adds the service of workers. */
export function addWorkerRoutes(router: ConnectRouter, api: Api): void {
  router.service(WorkerAdminService, {
    createWorker: ({ name }) => {
      const worker = create(WorkerSchema, { workerId: newId("wrk"), name, state: WorkerState.OFFLINE });
      api.workers.set(worker.workerId, worker);
      return { worker, key: "mk_worker_secret" };
    },
    getWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      return { worker };
    },
    drainWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      [worker.state, worker.drainRequested] = [WorkerState.DRAINING, true];
      return { worker };
    },
    resumeWorker: ({ workerId, name }) => {
      const worker = [...api.workers.values()].find((one) => one.workerId === workerId || one.name === name);
      if (worker === undefined) throw notFound("worker", workerId || name);
      [worker.state, worker.drainRequested] = [WorkerState.IDLE, false];
      return { worker };
    },
    listWorkers: (request) => {
      const { rows, nextPageToken } = page([...api.workers.values()], request);
      return { workers: rows, nextPageToken };
    },
  });
}
