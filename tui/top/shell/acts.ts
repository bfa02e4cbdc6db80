import { randomUUID } from "node:crypto";
import { reportError } from "../../report.ts";
import { canAct, type Freshness } from "../store/connection.ts";
import type { Scope, Shell } from "./screen.ts";

/** What actions need. */
export interface ActsOptions {
  /** Ends every call; undefined before the console runs. */
  readonly life: () => AbortSignal | undefined;
  readonly context: string;
  readonly addressFlag: string;
  readonly isReadOnly: boolean;
  readonly now: () => number;
  /** Says what went wrong. */
  readonly failed: (text: string) => void;
}

/** What was done, and what may be done. */
export interface Acts {
  readonly act: Shell["act"];
  readonly barrier: (scope: Scope, freshness: Freshness) => string | undefined;
  /** The scopes of the caller's key, once they are known. */
  readonly allow: (scopes: readonly string[]) => void;
  readonly taken: () => { readonly count: number; readonly sinceMs: number };
}

/** Counts actions, and keeps those back that cannot succeed. */
export function createActs(options: ActsOptions): Acts {
  const { context, addressFlag, now } = options;
  let taken = { count: 0, sinceMs: 0 };
  let scopes: readonly string[] | undefined;
  return {
    act: async (run, refused) => {
      const signal = options.life() ?? new AbortController().signal;
      try {
        const answer = await run({ requestId: randomUUID(), options: { signal, timeoutMs: 30_000 } });
        taken = { count: taken.count + 1, sinceMs: taken.count === 0 ? now() : taken.sinceMs };
        return answer;
      } catch (error) {
        if (signal.aborted || refused?.(error) === true) return undefined;
        const report = reportError(error, { address: context, addressFlag });
        const text = [report.message, report.suggestion].filter((part) => part !== "").join(". ");
        options.failed(`${text} (${report.reason})`);
        return undefined;
      }
    },
    barrier: (scope, freshness) => {
      if (options.isReadOnly && scope !== "read") return "this console is read only";
      if (!canAct(freshness)) return "not connected";
      if (scopes === undefined || scopes.includes(scope) || scopes.includes("admin")) return undefined;
      return `needs a key with scope ${scope} (yours: ${scopes.join(", ")})`;
    },
    allow: (allowed) => {
      scopes = allowed;
    },
    taken: () => taken,
  };
}
