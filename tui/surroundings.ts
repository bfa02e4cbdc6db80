/** A stream that the program writes to; a terminal says its size. */
export type OutputStream = NodeJS.WritableStream & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
};

/** A stream that the program reads. */
export type InputStream = NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined };

/** Everything outside the program, handed in: so that a test runs it in its own process. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Aborted with an Interrupted by the first SIGINT or SIGTERM: end what you do in good order. */
  readonly signal: AbortSignal;
  /** Aborted by the second: end now. */
  readonly forced: AbortSignal;
  /** The working directory; paths on the command line are relative to it. */
  readonly cwd: string;
  /** The user's home directory. */
  readonly home: string;
  /** The configuration for everybody on this machine; /etc/muster/config.yaml when absent. */
  readonly systemConfig?: string | undefined;
  /** Milliseconds since 1970, by the clock of this machine. */
  readonly now: () => number;
  /**
   * Hides what the process was started with from the jobs that it will run: starts it again, once, with an environment
   * that shows nothing. Answers with why it cannot; undefined when nothing shows.
   */
  readonly hideEnvironment?: () => string | undefined;
  /** Calls back when the process is told to read its files again, until the answer is called. */
  readonly onReload?: (listen: () => void) => () => void;
}

/** Why `Surroundings.signal` is aborted. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly signalName: "SIGINT" | "SIGTERM";

  constructor(signalName: "SIGINT" | "SIGTERM") {
    super(`interrupted by ${signalName}`);
    this.signalName = signalName;
  }

  /** What the shell expects of a program that ended for this signal. */
  get exitCode(): number {
    return this.signalName === "SIGINT" ? 130 : 143;
  }
}

/** The interruption behind an aborted signal; SIGINT when it was aborted without one. */
export function interruption(signal: AbortSignal): Interrupted {
  return signal.reason instanceof Interrupted ? signal.reason : new Interrupted("SIGINT");
}
