import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { maxCallTimeoutMs } from "./gate.ts";

/** The header under which a timeout is handed on that grpc-js would misread. */
export const misreadTimeout = "muster-misread-timeout";

/**
 * Hands a timeout on that cannot be kept: grpc-js takes one that is none for an error of its own, and makes any number
 * of one beyond its longest timer. For the headers of a call before grpc-js has them.
 */
export function setTimeoutAside(headers: IncomingHttpHeaders): void {
  const text = headers["grpc-timeout"];
  if (text === undefined || isKept(String(text))) return;
  delete headers["grpc-timeout"];
  headers[misreadTimeout] = String(text).slice(0, 100);
}

/** Tells the sender of a message that is not what its encoding says: grpc-js takes that for an error of its own. */
export function blameSender(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  if ((headers["grpc-encoding"] ?? "identity") === "identity") return;
  const [respond, sendTrailers] = [stream.respond.bind(stream), stream.sendTrailers.bind(stream)];
  stream.respond = (answer, options) => respond(isGarbled(answer) ? blaming(answer) : answer, options);
  stream.sendTrailers = (trailers) => sendTrailers(isGarbled(trailers) ? blaming(trailers) : trailers);
}

const unitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

function isKept(text: string): boolean {
  const [, digits, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  return Number(digits) * (unitsMs[unit] ?? Number.NaN) <= maxCallTimeoutMs;
}

const invalidArgument = 3;
const internal = 13;

function isGarbled(answer: unknown): answer is OutgoingHttpHeaders {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) return false;
  const message: unknown = Reflect.get(answer, "grpc-message");
  return (
    Number(Reflect.get(answer, "grpc-status")) === internal &&
    message === "Failed%20to%20decompress%20message"
  );
}

function blaming(answer: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return { ...answer, "grpc-status": invalidArgument };
}
