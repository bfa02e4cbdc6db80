import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createMusterTransport, type NodeTransportOptions } from "@muster/client/node";
import { type ClientConfig, credentialsPath, emptyConfig } from "./config/files.ts";
import type { LoginPlace } from "./config/logged-in.ts";
import { type Context, type ContextOptions, findContext } from "./context.ts";
import { usageError } from "./errors.ts";
import { nearest } from "./input/suggest.ts";
import { outgoing } from "./outgoing.ts";
import { readFields } from "./output/fields.ts";
import { type Format, formats, Output, type OutputOptions } from "./output/output.ts";
import { type TimeStyle, timeStyles } from "./output/time.ts";
import type { Surroundings } from "./surroundings.ts";

/** The options that every command takes. */
export interface GlobalOptions extends ContextOptions {
  readonly json?: boolean;
  readonly output?: string;
  /** Names of fields: `jobId,spec.kind`. */
  readonly fields?: string;
  /** False: tables without their titles. */
  readonly headers?: boolean;
  readonly time?: string;
  /** `auto`, `always`, `never`; false is never. */
  readonly color?: string | boolean;
  readonly ascii?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  /** In milliseconds. */
  readonly timeout?: number;
  /** Yes to what is asked before a moderate danger. */
  readonly yes?: boolean;
  /** The name or count that a severe danger asks for. */
  readonly confirm?: string;
  /** False: nothing is asked. */
  readonly input?: boolean;
  /** Names what is asked for, so that asking again does nothing twice. */
  readonly requestId?: string;
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
  /** What the configuration files say. */
  readonly config: ClientConfig;
  /** Address and key; found at the first use. Throws usage errors. */
  readonly context: () => Context;
  /** Says which coordinator is called, where it is not that of the context: for errors. */
  readonly reached: (context: Context) => void;
  /** A client of one service of the coordinator. */
  readonly client: <T extends DescService>(service: T) => Client<T>;
  /** What clients call through. Streams in both directions need HTTP version 2. */
  readonly transport: (httpVersion?: "1.1" | "2") => Transport;
  /** What a unary call is given: the deadline of --timeout (30 s), and the signal. */
  readonly once: () => { readonly signal: AbortSignal; readonly timeoutMs: number };
}

/** What a run starts from besides its options. */
export interface CallStart {
  /** Default: none. */
  readonly config?: ClientConfig;
  /** Writes YAML; there when the format is yaml. */
  readonly showYaml?: ((value: unknown) => string) | undefined;
}

/** Prepares the run of a command; `onContext` hears which coordinator it calls. Throws usage errors. */
export function prepareCall(
  surroundings: Surroundings,
  globals: GlobalOptions,
  argv: readonly string[],
  onContext: (context: Context) => void,
  { config = emptyConfig, showYaml }: CallStart = {},
): Call {
  const output = new Output(surroundings, { ...outputOptions(globals), showYaml });
  let found: Context | undefined;
  let interceptors: Interceptor[] | undefined;
  const context = (): Context => {
    if (found !== undefined) return found;
    found = findContext(globals, surroundings, config);
    onContext(found);
    for (const warning of found.warnings) output.warn(warning);
    return found;
  };
  const transport = (httpVersion: "1.1" | "2" = "1.1"): Transport => {
    const { address, key, loginName, org, tls, isReadOnly } = context();
    interceptors ??= outgoing({ isReadOnly, org, requestId: globals.requestId });
    const reach = {
      address,
      ...(tls.ca === undefined ? {} : { ca: tls.ca }),
      ...(tls.certificate === undefined ? {} : { certificate: tls.certificate }),
    };
    // HTTP/1.1: passes every proxy, and leaves no connection open that would keep the process alive.
    const open = (own: Partial<NodeTransportOptions>): Transport =>
      createMusterTransport({ ...reach, httpVersion, ...own });
    if (loginName === undefined) return open({ ...(key === undefined ? {} : { key }), interceptors });
    const place = { path: credentialsPath(surroundings), name: loginName, now: surroundings.now };
    return open({ interceptors: [...interceptors, loggedIn(place, () => open({ httpVersion: "1.1" }))] });
  };
  return {
    surroundings,
    globals,
    output,
    signal: surroundings.signal,
    argv,
    config,
    context,
    reached: onContext,
    client: (service) => createClient(service, transport()),
    transport,
    once: () => ({ signal: surroundings.signal, timeoutMs: globals.timeout ?? defaultTimeoutMs }),
  };
}

// Sends each call with the access token of a person's login. It needs YAML, which takes its time to load: a key does not.
function loggedIn(place: LoginPlace, plain: () => Transport): Interceptor {
  let tokens: Promise<() => Promise<string>> | undefined;
  return (next) => async (request) => {
    tokens ??= import("./config/logged-in.ts").then(({ accessTokens }) => accessTokens(place, plain));
    const token = await (await tokens)();
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}

/** What the options say about output. Throws usage errors. */
export function outputOptions(globals: GlobalOptions): Omit<OutputOptions, "showYaml"> {
  const word = readWord("-o, --output", "format", globals.output, formats);
  if (globals.json === true && word !== undefined && word !== "json") {
    throw usageError(`--json and -o ${word} contradict each other`, "Give one of the two.");
  }
  const format: Format = globals.json === true ? "json" : word === "wide" ? "text" : (word ?? "text");
  const color = globals.color === false ? "never" : globals.color;
  const choice = typeof color === "string" ? readWord("--color", "value", color, colorChoices) : undefined;
  const timeStyle: TimeStyle | undefined = readWord("--time", "style", globals.time, timeStyles);
  return {
    format,
    isWide: word === "wide",
    isQuiet: globals.quiet === true,
    noColor: choice === "never",
    forceColor: choice === "always",
    ascii: globals.ascii === true,
    noHeaders: globals.headers === false,
    timeStyle,
    fields: globals.fields === undefined ? undefined : readFields(globals.fields),
  };
}

const defaultTimeoutMs = 30_000;

const colorChoices = ["auto", "always", "never"] as const;

function readWord<Word extends string>(
  flag: string,
  noun: string,
  given: string | undefined,
  known: readonly Word[],
): Word | undefined {
  if (given === undefined) return undefined;
  const found = known.find((word) => word === given);
  if (found !== undefined) return found;
  const near = nearest(given, known);
  throw usageError(
    `${flag} has no ${noun} ${JSON.stringify(given)}`,
    `${near === undefined ? "" : `Did you mean ${near}? `}Use one of ${known.join(", ")}.`,
  );
}
