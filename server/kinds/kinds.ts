import { createMusterClient } from "@muster/client/node";
import { ProjectService } from "@muster/client/v1/project_service";
import type { Config } from "../config.ts";
import type { BuiltInKindName } from "../domain/built-in-kinds.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import { backup } from "./backup.ts";
import type { KindContext } from "./context.ts";
import { createGithub } from "./github.ts";
import { githubSync } from "./github-sync.ts";

/** What the built-in kinds need of who runs them. */
export interface KindsOptions {
  /** Where the API is reached, `http://127.0.0.1:7070`. */
  readonly address: string;
  /** A key that may work and read. */
  readonly key: string;
  readonly config: Pick<Config, "githubApiUrl" | "githubToken">;
  readonly maintenance: Maintenance;
  /** Makes the error that ends a job for good. */
  readonly failure: (message: string, code: string) => Error;
}

/** The handlers of the built-in kinds that run at the coordinator, by kind. */
export function coordinatorKinds({ address, key, config, maintenance, failure }: KindsOptions): KindHandlers {
  const apiUrl = config.githubApiUrl;
  const projects = createMusterClient(ProjectService, { address, key, timeoutMs: 30_000 });
  const github = createGithub({ apiUrl, token: config.githubToken });
  return {
    "github.sync": githubSync({ github, apiUrl, projects, failure }),
    "maintenance.backup": backup({ maintenance, failure }),
  };
}

type KindHandlers = Readonly<Record<BuiltInKindName, (ctx: KindContext) => Promise<unknown>>>;
