import type { ConnectRouter } from "@connectrpc/connect";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { ServiceImpl } from "@connectrpc/connect";
export const apiServices = [WorkerService];
export function apiRoutes(parts: { worker: ServiceImpl<typeof WorkerService> } & Record<string, unknown>) {
  return (router: ConnectRouter) => { router.service(WorkerService, parts.worker); };
}
