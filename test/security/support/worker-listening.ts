import { Health } from "@muster/client/grpc/health";
import { WorkerService } from "@muster/client/v1/worker_service";
import { unauthenticated } from "../../../server/domain/errors.ts";
import {
  startWorkerListener,
  type WorkerListener,
  type WorkerListenerOptions,
} from "../../../server/link/listener.ts";
import { createCallGate } from "../../../server/rpc/gate.ts";
import { HealthState } from "../../../server/rpc/health.ts";
import { reflectSchema } from "../../../server/rpc/reflection.ts";
import { callerWith, keepingLog } from "../../rpc/listening.ts";

/** A worker listener on a free port without a coordinator behind it: its Connect waits for a frame, and echoes none. */
export function workerListening(options: Partial<WorkerListenerOptions> = {}): Promise<WorkerListener> {
  const log = keepingLog();
  const health = new HealthState([WorkerService.typeName]);
  health.setServing(true);
  const none = () => Promise.reject(new TypeError("nothing here"));
  return startWorkerListener({
    host: "127.0.0.1",
    port: 0,
    worker: {
      async *connect(requests) {
        for await (const _request of requests) yield {};
      },
      attach: none,
      poll: none,
      answer: none,
      report: none,
      submitResults: none,
      renew: none,
      changeLinks: none,
      listParentResults: none,
      getSkillDocument: none,
      createJobToken: none,
    },
    health,
    schema: reflectSchema([WorkerService, Health]),
    gate: createCallGate({
      log,
      reflection: "on",
      async authenticate(token, requestId) {
        if (token !== "good") throw unauthenticated();
        return callerWith(["work"], requestId);
      },
    }),
    log,
    shutdownSignal: new AbortController().signal,
    ...options,
  });
}
