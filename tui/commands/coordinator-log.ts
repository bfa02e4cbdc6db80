import { escapeJson, sanitize } from "../output/sanitize.ts";
import { showClock } from "../output/time.ts";
import type { Surroundings } from "../surroundings.ts";

/** What a coordinator logs with. */
export interface CoordinatorLog {
  readonly debug: (fields: object, message: string) => void;
  readonly info: (fields: object, message: string) => void;
  readonly warn: (fields: object, message: string) => void;
  readonly error: (fields: object, message: string) => void;
}

/**
 * The log of a coordinator on stderr, because stdout has the data of the command alone: a JSON object a line, or
 * lines for people. What is below the level is left out; `fatal` and `silent` leave out everything.
 */
export function makeCoordinatorLog(
  config: { readonly logLevel: string; readonly logFormat: string },
  { stderr, now }: Pick<Surroundings, "stderr" | "now">,
): CoordinatorLog {
  const order = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];
  const least = order.indexOf(config.logLevel);
  const at = (level: string) => {
    if (order.indexOf(level) < least) return () => undefined;
    return (fields: object, message: string): void => {
      const line = config.logFormat === "pretty" ? prettyLine : jsonLine;
      stderr.write(`${line(level, message, plainFields(fields), now())}\n`);
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function jsonLine(level: string, message: string, fields: Record<string, unknown>, nowMs: number): string {
  return escapeJson(JSON.stringify({ level, time: new Date(nowMs).toISOString(), msg: message, ...fields }));
}

function prettyLine(level: string, message: string, fields: Record<string, unknown>, nowMs: number): string {
  const rest = Object.entries(fields).map(([name, value]) => {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "-");
    return ` ${name}=${text}`;
  });
  return sanitize(`${showClock(nowMs)} ${level.padEnd(5)} ${message}${rest.join("")}`);
}

// Errors and big integers have no JSON of their own; an error's cause is what the log is read for.
function plainFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const cause = value.cause === undefined ? "" : `; because ${String(value.cause)}`;
  return `${value.name}: ${value.message}${cause}`;
}
