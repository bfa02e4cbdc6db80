import type { JobLog } from "./context.ts";
import type { LogSource, ReportBody } from "./engine/messages.ts";
import type { LogLevel } from "./logger.ts";
import type { Redaction } from "./redaction.ts";
import { cleanText, splitBytes } from "./text.ts";

/**
 * The log of an attempt, without its secrets; `flush` sends what a chunk of output cut in two, and what might have been
 * the start of a secret. Pieces have at most `maxBytes`.
 */
export function jobLog(
  maxBytes: number,
  redaction: Redaction,
  report: (body: ReportBody) => void,
): JobLog & { flush(): void } {
  const outputs = { stdout: redaction.stream(), stderr: redaction.stream() };
  const write = (stream: LogSource, level: LogLevel, text: string) => {
    for (const piece of splitBytes(text, maxBytes)) report({ kind: "log", stream, level, text: piece });
  };
  const log = (first: string, second?: string) => {
    const [level, text] = second === undefined ? ["info", first] : [first, second];
    write("log", isLevel(level) ? level : "info", redaction.redact(cleanText(String(text))));
  };
  return Object.assign(log, {
    stdout: (chunk: Uint8Array | string) => write("stdout", "info", outputs.stdout.push(chunk)),
    stderr: (chunk: Uint8Array | string) => write("stderr", "info", outputs.stderr.push(chunk)),
    system: (text: string) => write("system", "info", redaction.redact(cleanText(text))),
    flush: () => {
      write("stdout", "info", outputs.stdout.end());
      write("stderr", "info", outputs.stderr.end());
    },
  });
}

function isLevel(text: string | undefined): text is LogLevel {
  return text === "debug" || text === "info" || text === "warn" || text === "error";
}
