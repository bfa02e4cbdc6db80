import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { reportError } from "../report.ts";
import type { CheckLevel, CheckResult } from "./check.ts";

/** What a check saw. */
export interface Finding {
  readonly level: CheckLevel;
  readonly detail: string;
  readonly fix?: string;
}

/** Makes checks one after the other and keeps what they saw. */
export interface Checks {
  readonly results: readonly CheckResult[];
  /** Makes a check, of which a thrown error is a failure. Answers whether what follows can rely on it. */
  add(id: string, look: () => Promise<Finding> | Finding): Promise<boolean>;
  /** Keeps a check that was not tried, and why. */
  skip(id: string, why: string): void;
}

/** Starts a row of checks. */
export function makeChecks(call: Call): Checks {
  const results: CheckResult[] = [];
  return {
    results,
    async add(id, look) {
      const from = performance.now();
      let found: Finding;
      try {
        found = await look();
      } catch (error) {
        call.signal.throwIfAborted();
        found = failureOf(error, call);
      }
      const tookMs = Math.round(performance.now() - from);
      results.push({ id, level: found.level, tookMs, detail: found.detail, fix: found.fix ?? "" });
      return found.level === "ok" || found.level === "warn";
    },
    skip(id, why) {
      results.push({ id, level: "skip", tookMs: 0, detail: why, fix: "" });
    },
  };
}

/** As it should be. */
export function fine(detail: string): Finding {
  return { level: "ok", detail };
}

/** Something to do. */
export function wanting(level: "warn" | "fail", detail: string, fix: string): Finding {
  return { level, detail, fix };
}

function failureOf(error: unknown, call: Call): Finding {
  const called = error instanceof CliError ? undefined : call.context();
  const { message, reason, suggestion, fieldViolations } = reportError(error, called);
  const where = fieldViolations.map((one) => `${one.field}: ${one.message}`);
  return { level: "fail", detail: [`${message} (${reason})`, ...where].join("; "), fix: suggestion };
}
