import { createMusterClient } from "@muster/client/node";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import type { Config } from "../config.ts";
import type { BuiltInKindName } from "../domain/built-in-kinds.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import { outboundHttp } from "../outbound/outbound-http.ts";
import { backup } from "./backup.ts";
import type { KindContext } from "./context.ts";
import { digest } from "./digest.ts";
import { createGithub } from "./github.ts";
import { githubIssues } from "./github-issues.ts";
import { githubSync } from "./github-sync.ts";
import { httpRequest } from "./http-request.ts";
import { retention } from "./retention.ts";
import { retryDead } from "./retry-dead.ts";

/** What the built-in kinds need of who runs them. */
export interface KindsOptions {
  /** Where the API is reached, `http://127.0.0.1:7070`. */
  readonly address: string;
  /** Whose jobs they are. */
  readonly orgId: string;
  /** A key that work and read. */
  readonly key: string;
  readonly config: Pick<Config, "githubApiUrl" | "githubToken" | "outboundAllow">;
  readonly maintenance: Maintenance;
  /** Makes the error that ends a job for good. */
  readonly failure: (message: string, code: string) => Error;
}

/** The handlers of the built-in kinds that run at the coordinator, by kind. */
export function coordinatorKinds({
  address,
  orgId,
  key,
  config,
  maintenance,
  failure,
}: KindsOptions): KindHandlers {
  const apiUrl = config.githubApiUrl;
  const projects = createMusterClient(ProjectService, { address, key, timeoutMs: 30_000 });
  const jobs = createMusterClient(JobService, { address, key, timeoutMs: 30_000 });
  const github = createGithub({ apiUrl, token: config.githubToken });
  return {
    "github.sync": githubSync({ github, apiUrl, projects, failure }),
    "github.issues": githubIssues({ github, failure }),
    "http.request": httpRequest({ http: outboundHttp({ allow: config.outboundAllow }), failure }),
    "maintenance.retention": retention({ maintenance, failure }),
    "maintenance.retry-dead": retryDead({ jobs, failure }),
    "report.digest": digest({ orgId, maintenance, failure }),
    "maintenance.backup": backup({ maintenance, failure }),
  };
}

type KindHandlers = Readonly<Record<BuiltInKindName, (ctx: KindContext) => Promise<unknown>>>;
