/** Severity of a line of the worker's own log. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Where the worker's own log goes. Called synchronously; must not throw. `fields` are plain data without secrets. */
export type Logger = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** A logger that writes lines like `warn detached reason="…"` through `write`, from `least` upwards. */
export function lineLogger(write: (line: string) => void, least: LogLevel = "info"): Logger {
  const floor = levels.indexOf(least);
  return (level, message, fields = {}) => {
    if (levels.indexOf(level) < floor) return;
    const rest = Object.entries(fields).map(
      ([name, value]) => ` ${name}=${JSON.stringify(value) ?? "undefined"}`,
    );
    write(`${level} ${message}${rest.join("")}\n`);
  };
}
