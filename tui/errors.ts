import { exitCodes } from "./exit-codes.ts";

/** One thing that is wrong with the input. */
export interface Violation {
  /** Where: a field, a flag, or `jobs.yaml:12:5`. */
  readonly field: string;
  readonly message: string;
}

/** What a CliError says besides its message. */
export interface CliErrorOptions {
  /** Stable upper-snake identifier. */
  readonly reason: string;
  /** One of `exitCodes`. */
  readonly exitCode: number;
  /** What to do next, in a sentence. */
  readonly suggestion?: string;
  readonly violations?: readonly Violation[];
  readonly cause?: unknown;
}

/** An error that the program itself found; the message is a sentence for people. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly reason: string;
  readonly exitCode: number;
  readonly suggestion: string | undefined;
  readonly violations: readonly Violation[];

  constructor(message: string, options: CliErrorOptions) {
    super(message, { cause: options.cause });
    this.reason = options.reason;
    this.exitCode = options.exitCode;
    this.suggestion = options.suggestion;
    this.violations = options.violations ?? [];
  }
}

/** Wrong usage of the command line: exit code 2. */
export function usageError(
  message: string,
  suggestion?: string,
  violations?: readonly Violation[],
): CliError {
  return new CliError(message, {
    reason: "USAGE",
    exitCode: exitCodes.usage,
    ...(suggestion === undefined ? {} : { suggestion }),
    ...(violations === undefined ? {} : { violations }),
  });
}
