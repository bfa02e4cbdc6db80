import { Writable } from "node:stream";
import pino from "pino";
import type { Config } from "./config.ts";
import type { Log } from "./domain/context.ts";

/** The log of a coordinator: lines on standard output, JSON or for people. */
export function createLog(config: Pick<Config, "logLevel" | "logFormat">): Log {
  const options = { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return config.logFormat === "pretty" ? pino(options, prettyLines(process.stdout)) : pino(options);
}

/** Turns JSON lines into `12:00:00.000 WARN message {fields}`. */
export function prettyLines(output: Pick<NodeJS.WritableStream, "write">): Writable {
  return new Writable({
    write(chunk, _, done) {
      for (const line of String(chunk).split("\n")) if (line !== "") output.write(`${prettyLine(line)}\n`);
      done();
    },
  });
}

function prettyLine(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line);
  const name = pino.levels.labels[level]?.toUpperCase().padEnd(5) ?? "?";
  const rest = Object.keys(fields).length === 0 ? "" : ` ${JSON.stringify(fields)}`;
  return `${String(time).slice(11, 23)} ${name} ${msg}${rest}`;
}
