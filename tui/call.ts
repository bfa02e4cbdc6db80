import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { type Context, findContext } from "./context.ts";
import { usageError } from "./errors.ts";
import { nearest } from "./input/suggest.ts";
import { type Format, formats, Output } from "./output/output.ts";
import type { Surroundings } from "./surroundings.ts";

/** The options that every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly output?: string;
  readonly color?: boolean;
  readonly ascii?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  /** In milliseconds. */
  readonly timeout?: number;
  readonly address?: string;
  readonly apiKeyFile?: string;
  /** Yes to what is asked before a moderate danger. */
  readonly yes?: boolean;
  /** The name or count that a severe danger asks for. */
  readonly confirm?: string;
  /** False: nothing is asked. */
  readonly input?: boolean;
}

/** One run of one command: what it may use. */
export interface Call {
  readonly surroundings: Surroundings;
  readonly globals: GlobalOptions;
  readonly output: Output;
  /** Aborted when the user ends the program. */
  readonly signal: AbortSignal;
  /** The command line, without the program's name. */
  readonly argv: readonly string[];
  /** Address and key; found at the first use. Throws usage errors. */
  readonly context: () => Context;
  /** A client of one service of the coordinator. */
  readonly client: <T extends DescService>(service: T) => Client<T>;
  /** What a unary call is given: the deadline of --timeout (30 s), and the signal. */
  readonly once: () => { readonly signal: AbortSignal; readonly timeoutMs: number };
}

/** Prepares the run of a command; `onContext` hears which coordinator it calls. Throws usage errors. */
export function prepareCall(
  surroundings: Surroundings,
  globals: GlobalOptions,
  argv: readonly string[],
  onContext: (context: Context) => void,
): Call {
  const output = new Output(surroundings, {
    format: readFormat(globals),
    isQuiet: globals.quiet === true,
    noColor: globals.color === false,
    ascii: globals.ascii === true,
  });
  let found: Context | undefined;
  const context = (): Context => {
    if (found !== undefined) return found;
    found = findContext(globals, surroundings);
    onContext(found);
    for (const warning of found.warnings) output.warn(warning);
    return found;
  };
  return {
    surroundings,
    globals,
    output,
    signal: surroundings.signal,
    argv,
    context,
    client: (service) => {
      const { address, key } = context();
      // HTTP/1.1: passes every proxy, and leaves no connection open that would keep the process alive.
      return createMusterClient(service, {
        address,
        httpVersion: "1.1",
        ...(key === undefined ? {} : { key }),
      });
    },
    once: () => ({ signal: surroundings.signal, timeoutMs: globals.timeout ?? defaultTimeoutMs }),
  };
}

const defaultTimeoutMs = 30_000;

function readFormat({ json, output }: GlobalOptions): Format {
  if (output === undefined) return json === true ? "json" : "text";
  if (json === true && output !== "json") {
    throw usageError(`--json and -o ${output} contradict each other`, "Give one of the two.");
  }
  const known = formats.find((format) => format === output);
  if (known !== undefined) return known;
  const near = nearest(output, formats);
  throw usageError(
    `-o, --output has no format ${JSON.stringify(output)}`,
    `${near === undefined ? "" : `Did you mean ${near}? `}Use one of ${formats.join(", ")}.`,
  );
}
