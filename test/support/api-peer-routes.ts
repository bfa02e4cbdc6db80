import type { ConnectRouter } from "@connectrpc/connect";
import { ArtifactService } from "@muster/client/v1/artifact_service";
import { ExplainService } from "@muster/client/v1/explain_service";
import { StatusService } from "@muster/client/v1/status_service";
import { addLeaseRoutes } from "./api-peer-acts.ts";
import { addBatchRoutes } from "./api-peer-batches.ts";
import { addJobRoutes } from "./api-peer-jobs.ts";
import { addProjectRoutes } from "./api-peer-projects.ts";
import { addQueueRoutes, addSettingsRoutes } from "./api-peer-queues.ts";
import { aborted, found } from "./api-peer-rows.ts";
import type { Api, Signals } from "./api-peer-state.ts";
import { addSystemRoutes } from "./api-peer-system.ts";
import { addWorkerRoutes } from "./api-peer-workers.ts";

/** Adds every service of the API. */
export function addRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  addJobRoutes(router, api, signals);
  addBatchRoutes(router, api, signals);
  addQueueRoutes(router, api.queues);
  addSettingsRoutes(router);
  addLeaseRoutes(router, api);
  addSystemRoutes(router, api);
  addWorkerRoutes(router, api);
  addProjectRoutes(router, api);
  router.service(ArtifactService, {
    listArtifacts: ({ jobId }) => ({
      artifacts: [...api.artifacts.values()].filter((one) => one.jobId === jobId),
    }),
    getArtifactUrl: ({ artifactId }) => {
      const artifact = found(api.artifacts, artifactId, "artifact");
      return { artifact, url: `${api.address}/artifacts/${artifactId}` };
    },
  });
  router.service(ExplainService, {
    explainJob: ({ jobId, externalId }) => found(api.explanations, jobId || externalId, "job"),
    explainWorker: ({ workerId, name }) => found(api.workerExplanations, workerId || name, "worker"),
    checkWork: (request) => {
      api.asked.push(request);
      return api.work;
    },
    listAttention: (request) => {
      api.asked.push(request);
      return api.attention;
    },
  });
  router.service(StatusService, {
    getStatus: () => ({ status: api.status }),
    async *watchStatus(_request, { signal }) {
      while (!signal.aborted) {
        const change = signals.changed();
        yield { status: api.status };
        await Promise.race([change, aborted(signal)]);
      }
    },
  });
}
