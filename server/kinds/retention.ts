import { readPayload, retentionPayload } from "../domain/built-in-kinds.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import type { RetentionResult } from "../domain/retention.ts";
import type { KindContext, KindParts } from "./context.ts";

/**
 * The built-in kind `maintenance.retention`, payload `{ "jobsDays"?: number, "logsDays"?: number, "dryRun"?: boolean }`:
 * drops the days of jobs, history and logs that are older than the policy, with their files. The result says which days
 * went, and of those that stay why. With `dryRun` nothing goes.
 */
export function retention(
  parts: KindParts & { readonly maintenance: Pick<Maintenance, "retain"> },
): (ctx: KindContext) => Promise<RetentionResult> {
  return async (ctx) => {
    const { jobsDays, logsDays, dryRun } = readPayload(
      "maintenance.retention",
      retentionPayload,
      ctx.payload,
      parts.failure,
    );
    const told = (fraction: number, message: string) => ctx.progress(fraction, message);
    try {
      const policy = { jobsDays, logsDays, isDryRun: dryRun };
      return await parts.maintenance.retain(policy, { signal: ctx.signal, told });
    } catch (error) {
      ctx.signal.throwIfAborted();
      throw error;
    }
  };
}
