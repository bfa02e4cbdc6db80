import { inspect } from "node:util";
import type { Outcome } from "./engine/messages.ts";
import { JobFailure, ParkSignal, ReleaseSignal } from "./failure.ts";
import type { Redaction } from "./redaction.ts";
import { Stop } from "./stop.ts";
import { clipBytes, clipText } from "./text.ts";

const maxReasonChars = 200;
const maxMessageBytes = 4 * 1024;
const maxDetailBytes = 16 * 1024;
const codePattern = /^[A-Z][A-Z0-9_]{1,63}$/;

/**
 * How an attempt ended whose handler threw `thrown`. `isStopping`: it had been asked to stop before. Secrets go before
 * anything is cut, so that no piece of one is left. Never throws.
 */
export function thrownOutcome(
  thrown: unknown,
  isStopping: boolean,
  redaction: Pick<Redaction, "redact"> = { redact: (text) => text },
): Outcome {
  const redact = (text: string) => redaction.redact(text);
  try {
    return readThrown(thrown, isStopping, redact);
  } catch (defect) {
    // Values of other types than declared, from a handler that no compiler checked.
    const message = `the handler threw something that cannot be read: ${redact(shown(defect))}`;
    return {
      kind: "failed",
      code: "HANDLER_ERROR",
      message,
      detail: "",
      retryable: true,
      retryAfterMs: undefined,
    };
  }
}

function readThrown(thrown: unknown, isStopping: boolean, redact: (text: string) => string): Outcome {
  if (thrown instanceof ParkSignal) {
    return {
      kind: "parked",
      reason: clipText(redact(thrown.reason), maxReasonChars),
      wakeAfterMs: delayOf(thrown.wakeAfterMs),
      isPool: thrown.isPool,
      session: thrown.session,
    };
  }
  if (thrown instanceof ReleaseSignal)
    return { kind: "released", reason: clipText(redact(thrown.reason), maxReasonChars) };
  if (isStopping) {
    const killed = thrown instanceof Stop && thrown.killed;
    const isPlain = thrown instanceof Stop || (thrown instanceof Error && thrown.name === "AbortError");
    return { kind: "stopped", killed, detail: isPlain ? "" : detailOf(thrown, redact) };
  }
  return {
    kind: "failed",
    code: redact(codeOf(thrown)) === codeOf(thrown) ? codeOf(thrown) : "HANDLER_ERROR",
    message: clipBytes(redact(messageOf(thrown)), maxMessageBytes),
    detail: detailOf(thrown, redact),
    retryable: thrown instanceof JobFailure ? thrown.retryable : true,
    retryAfterMs: thrown instanceof JobFailure ? delayOf(thrown.retryAfterMs) : undefined,
  };
}

function delayOf(ms: number | undefined): number | undefined {
  return ms !== undefined && Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}

function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && codePattern.test(code) ? code : "HANDLER_ERROR";
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === "" ? thrown.name : thrown.message;
  return typeof thrown === "string" ? thrown : shown(thrown);
}

function detailOf(thrown: unknown, redact: (text: string) => string): string {
  if (thrown instanceof JobFailure && thrown.detail !== undefined)
    return clipBytes(redact(thrown.detail), maxDetailBytes, "end");
  return clipBytes(thrown instanceof Error ? redact(shown(thrown)) : "", maxDetailBytes);
}

// A thrown value may be anything, also something that throws when it is looked at.
function shown(thrown: unknown): string {
  try {
    return inspect(thrown, { depth: 4, breakLength: 120, maxStringLength: null });
  } catch {
    return "a value that cannot be shown";
  }
}
