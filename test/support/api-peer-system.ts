import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { KeyService, type WhoAmIResponse, WhoAmIResponseSchema } from "@muster/client/v1/key_service";
import {
  type Check,
  type LookupCandidate,
  LookupCandidateSchema,
  LookupType,
  SystemService,
} from "@muster/client/v1/system_service";
import type { Api } from "./api-peer-state.ts";

/** What the peer says of itself and of its caller. */
export interface PeerSystem {
  who: WhoAmIResponse;
  checks: Check[];
  /** Candidates that there are besides the jobs and workers of the peer. */
  named: LookupCandidate[];
  /** Headers of the calls of WhoAmI: who was told which key. */
  readonly keys: string[];
}

/** A key that may read, of the default org. */
export function makePeerSystem(): PeerSystem {
  const key = { keyId: "key_1", type: "api", name: "test", scopes: ["read", "submit"] };
  const who = { orgId: "org_1", org: "default", actor: "key:test", key, serverVersion: "0.1.0" };
  return { who: create(WhoAmIResponseSchema, who), checks: [], named: [], keys: [] };
}

/** Adds who calls, the checks, and the look-up: as the coordinator's, without its bounds. */
export function addSystemRoutes(router: ConnectRouter, api: Api): void {
  router.service(KeyService, {
    whoAmI: (_request, { requestHeader }) => {
      api.system.keys.push(requestHeader.get("authorization") ?? "");
      return api.system.who;
    },
  });
  router.service(SystemService, {
    checkServer: () => ({ checks: api.system.checks }),
    lookup: ({ text, types, limit }) => {
      const jobs = [...api.jobs.values()].map(
        (job) => [LookupType.JOB, job.jobId, job.spec?.kind ?? ""] as const,
      );
      const explained = [
        ...api.explanations.keys(),
        ...[...api.artifacts.values()].map(({ jobId }) => jobId),
      ].map((id) => [LookupType.JOB, id, ""] as const);
      const batches = [...api.batches.keys()].map((id) => [LookupType.BATCH, id, ""] as const);
      const workers = [...api.workers.values()].map(
        (one) => [LookupType.WORKER, one.workerId, one.name] as const,
      );
      const all = [...jobs, ...explained, ...batches, ...workers]
        .map(([type, id, label]) => create(LookupCandidateSchema, { type, id, label }))
        .concat(api.system.named)
        .filter(({ type }) => types.length === 0 || types.includes(type))
        .filter((one) => matches(one, text));
      const most = limit === 0 ? 10 : limit;
      return { candidates: all.slice(0, most), truncated: all.length > most };
    },
  });
}

function matches({ id, label }: LookupCandidate, text: string): boolean {
  return [id, id.replace(/^[a-z]+_/, ""), label].some((one) => one.startsWith(text) || one.endsWith(text));
}
