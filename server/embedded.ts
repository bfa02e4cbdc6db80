import type { Config } from "./config.ts";
import type { Log } from "./domain/context.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "./store/embedded.ts";

/** Starts the embedded Postgres of a configuration; what it does is said in the log. */
export function startEmbedded(config: Config, log: Log, signal: AbortSignal): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    dataDir: config.dataDir,
    signal,
    logger: { info: (message) => log.info({}, message), warn: (message) => log.warn({}, message) },
  });
}
