/** The demo did not come out as it should: each problem is a line for people. */
export class DemoFailure extends Error {
  override readonly name = "DemoFailure";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** A signal asked the demo to stop: no failure, and no success. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  /** 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP. */
  readonly exitCode: number;

  constructor(signal: string, exitCode: number) {
    super(`stopped by ${signal}`);
    this.exitCode = exitCode;
  }
}

/** What an error says, for people. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
