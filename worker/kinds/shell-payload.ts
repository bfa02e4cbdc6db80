import { JobFailure } from "../failure.ts";

/** The payload of a `shell.run` job. */
export interface ShellPayload {
  /** Program and arguments, each passed as it is: no shell looks at them. */
  readonly argv: readonly string[];
  /** Working directory. Default: the root of the job's project, or the worker's own. */
  readonly cwd: string | undefined;
  /** Added to the environment; wins over what the worker passes on. */
  readonly env: Readonly<Record<string, string>>;
  /** Written to standard input, which is then closed. */
  readonly stdin: string;
  /** How much of the end of each output goes into the result: 0 to 65,536 bytes. Default 4,096. */
  readonly outputTailBytes: number;
  /** Whether it gets `MUSTER_ADDRESS` and `MUSTER_API_KEY`, to call for its own job alone. Default false. */
  readonly api: boolean;
  /** Exit codes that are a success. Default 0. */
  readonly okExitCodes: readonly number[];
}

const known = ["argv", "cwd", "env", "stdin", "outputTailBytes", "okExitCodes", "api"];
const maxTailBytes = 65_536;

/** Reads a payload. Throws a JobFailure PAYLOAD_INVALID, not retryable, that names every problem. */
export function readShellPayload(payload: unknown): ShellPayload {
  if (!isObject(payload)) {
    throw invalid(['must be an object like {"argv": ["echo", "hello"]}']);
  }
  const { argv, cwd, env = {}, stdin = "", outputTailBytes = 4096, okExitCodes = [0], api = false } = payload;
  const problems = Object.keys(payload).flatMap((name) => (known.includes(name) ? [] : [unknownField(name)]));
  const isArgv = isArrayOf(argv, isText) && argv.length > 0 && argv[0] !== "";
  if (!isArgv && (typeof argv === "string" || !("command" in payload))) {
    problems.push('argv must be a list of strings like ["ls", "-l"], the program first');
  }
  const isCwd = cwd === undefined || (isText(cwd) && cwd !== "");
  if (!isCwd) problems.push("cwd must be a path");
  const isEnv = isObject(env) && Object.values(env).every(isText);
  if (!isEnv) problems.push("env must be an object of strings");
  if (!isText(stdin)) problems.push("stdin must be a string");
  const isTail = isCount(outputTailBytes) && outputTailBytes <= maxTailBytes;
  if (!isTail) problems.push(`outputTailBytes must be a whole number from 0 to ${maxTailBytes}`);
  const isCodes = isArrayOf(okExitCodes, isCount);
  if (!isCodes) problems.push("okExitCodes must be a list of whole numbers");
  const isApi = typeof api === "boolean";
  if (!isApi) problems.push("api must be true or false");
  const isRight = isApi && isArgv && isCwd && isEnv && isText(stdin) && isTail && isCodes;
  if (!isRight || problems.length > 0) throw invalid(problems);
  const texts = Object.entries(env).flatMap(([name, value]) => (isText(value) ? [[name, value]] : []));
  return { argv, cwd, env: Object.fromEntries(texts), stdin, outputTailBytes, okExitCodes, api };
}

function unknownField(name: string): string {
  if (name !== "command") return `${JSON.stringify(name)} is not a field; known are ${known.join(", ")}`;
  return 'there is no command: give argv, a list, because no shell runs it; for a shell say ["sh", "-c", "…"]';
}

function invalid(problems: readonly string[]): JobFailure {
  const message = `the payload of shell.run is not valid: ${problems.join("; ")}`;
  return new JobFailure(message, { code: "PAYLOAD_INVALID", retryable: false, detail: problems.join("\n") });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

function isArrayOf<T>(value: unknown, is: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(is);
}
