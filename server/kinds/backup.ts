import type { MadeBackup } from "../domain/backups.ts";
import { backupPayload, readPayload } from "../domain/built-in-kinds.ts";
import { DomainError } from "../domain/errors.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import type { KindContext, KindParts } from "./context.ts";

/**
 * The built-in kind `maintenance.backup`, payload `{ "org"?: string, "format"?: "sql" | "jsonl", "keepDays"?: number,
 * "keepCount"?: number }`: keeps the whole database, or one org, where the coordinator is configured to keep backups.
 * A cancel ends it and leaves nothing behind; another attempt begins anew.
 */
export function backup(
  parts: KindParts & { readonly maintenance: Pick<Maintenance, "backup"> },
): (ctx: KindContext) => Promise<MadeBackup> {
  return async (ctx) => {
    const { org, format, keepDays, keepCount } = readPayload(
      "maintenance.backup",
      backupPayload,
      ctx.payload,
      parts.failure,
    );
    try {
      return await parts.maintenance.backup(
        { org, format, keep: { days: keepDays, count: keepCount } },
        { signal: ctx.signal, told: (fraction, message) => ctx.progress(fraction, message) },
      );
    } catch (error) {
      ctx.signal.throwIfAborted();
      // Trying again does not make an org of that name.
      if (error instanceof DomainError && error.code === "invalid_argument") {
        throw parts.failure(error.message, "PAYLOAD_INVALID");
      }
      throw error;
    }
  };
}
