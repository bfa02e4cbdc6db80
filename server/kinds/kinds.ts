import { createMusterClient } from "@muster/client/node";
import { JobService } from "@muster/client/v1/job_service";
import { ProjectService } from "@muster/client/v1/project_service";
import type { Config } from "../config.ts";
import { defaultOrgName } from "../domain/keys.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import type { BuiltInKindName } from "../domain/rules/built-in-kinds.ts";
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
  /** The org whose jobs they are, by its name. */
  readonly orgName: string;
  /** A key that work and read. */
  readonly key: string;
  readonly config: Pick<Config, "githubApiUrl" | "githubToken" | "githubTokenOrgs" | "outboundAllow">;
  /** Of that org. */
  readonly maintenance: Maintenance;
  /** Makes the error that ends a job for good. */
  readonly failure: (message: string, code: string) => Error;
}

/** The handlers of the built-in kinds that run at the coordinator, by kind. */
export function coordinatorKinds({
  address,
  orgName,
  key,
  config,
  maintenance,
  failure,
}: KindsOptions): KindHandlers {
  const apiUrl = config.githubApiUrl;
  const projects = createMusterClient(ProjectService, { address, key, timeoutMs: 30_000 });
  const jobs = createMusterClient(JobService, { address, key, timeoutMs: 30_000 });
  const github = createGithub({ apiUrl, token: tokenOf(config, orgName) });
  return {
    "github.sync": githubSync({ github, apiUrl, projects, failure }),
    "github.issues": githubIssues({ github, failure }),
    "http.request": httpRequest({ http: outboundHttp({ allow: config.outboundAllow }), failure }),
    "maintenance.retention": retention({ maintenance, failure }),
    "maintenance.retry-dead": retryDead({ jobs, failure }),
    "report.digest": digest({ maintenance, failure }),
    "maintenance.backup": backup({ maintenance, failure }),
  };
}

// Whoever submits `github.issues` names the repository: another org must not read what the installation may.
function tokenOf(
  { githubToken, githubTokenOrgs }: KindsOptions["config"],
  orgName: string,
): string | undefined {
  return orgName === defaultOrgName || githubTokenOrgs.includes(orgName) ? githubToken : undefined;
}

type KindHandlers = Readonly<Record<BuiltInKindName, (ctx: KindContext) => Promise<unknown>>>;
