import {
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromJson,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { createContextValues } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { readText, sourceName } from "../input/files.ts";
import { messageJson } from "../output/output.ts";
import { escapeJson } from "../output/sanitize.ts";
import { layTable } from "../output/table.ts";
import { findMethod, services } from "../rpc/services.ts";

interface RpcOptions {
  readonly data?: string;
  readonly list?: boolean;
}

/** Registers `muster rpc`. */
export function registerRpc(cli: Cli): void {
  cli.program
    .command("rpc [method]")
    .description("Call any method of the API, JSON in and out.")
    .examples(
      "muster rpc --list",
      `muster rpc JobService/ListJobs -d '{"pageSize": 5}'`,
      "generate-request | muster rpc SubmitJob -d @-",
      "muster rpc StatusService/WatchStatus | jq -c .status.jobs",
    )
    .option(
      "-d, --data <json>",
      "the request: JSON, @file, or @- for stdin; a JSON a line where many are sent",
    )
    .option("--list", "list the methods")
    .notes(
      "Prints the answer as JSON, and what streams as JSON lines. Field names are those of the .proto files\n" +
        "in camelCase (muster proto export).",
    )
    .action(
      cli.action(async (call, name: string | undefined, options: RpcOptions) => {
        if (name === undefined || options.list === true) return listMethods(call);
        return callMethod(call, findMethod(name), options.data);
      }),
    );
}

function listMethods(call: Call): number {
  const rows = services.flatMap((service) =>
    service.methods.map((method) => ({
      method: `${service.name}/${method.name}`,
      request: method.input.name,
      response: method.output.name,
      kind: method.methodKind,
      changes: method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    })),
  );
  call.output.printValue(
    rows,
    () =>
      layTable(
        [{ title: "METHOD" }, { title: "CHANGES", drop: 1 }, { title: "KIND", drop: 2 }],
        rows.map((row) => [row.method, row.changes ? "yes" : "no", row.kind.replace("_", " ")]),
        call.output.layout,
      ),
    () => rows.map((row) => row.method),
  );
  return exitCodes.done;
}

async function callMethod(call: Call, method: DescMethod, data: string | undefined): Promise<number> {
  const text = await readRequest(call, data);
  const values = createContextValues();
  if (isUnary(method)) {
    const { signal, timeoutMs } = call.once();
    const message = readMessage(method.input, text, undefined);
    const answer = await call.transport().unary(method, signal, timeoutMs, {}, message, values);
    print(call, method.output, answer.message, false);
    return exitCodes.done;
  }
  const isOneSent = method.methodKind === "server_streaming";
  const lines = isOneSent ? [text] : text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const messages = lines.map((line, at) => readMessage(method.input, line, isOneSent ? undefined : at + 1));
  const { signal, globals } = call;
  const answers = await call
    .transport(isOneSent ? "1.1" : "2")
    .stream(asStreaming(method), signal, globals.timeout, {}, sent(messages), values);
  for await (const message of answers.message) print(call, method.output, message, true);
  return exitCodes.done;
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

// What is not unary streams in one direction or both.
function asStreaming(method: DescMethod): DescMethodStreaming {
  return method as DescMethodStreaming;
}

async function* sent(messages: readonly Message[]): AsyncGenerator<Message> {
  yield* messages;
}

function print(call: Call, schema: DescMessage, message: Message, isOneOfMany: boolean): void {
  const json = (): string => JSON.stringify(messageJson(schema, message), null, isOneOfMany ? undefined : 2);
  const answer = { schema, message, text: () => escapeJson(json()).split("\n") };
  if (isOneOfMany) call.output.printOne(answer);
  else call.output.print(answer);
}

async function readRequest(call: Call, data: string | undefined): Promise<string> {
  if (data === undefined) return "{}";
  if (data === "-") return readText("-", "--data", call.surroundings);
  return data.startsWith("@") ? readText(data.slice(1), "--data", call.surroundings) : data;
}

function readMessage(schema: DescMessage, text: string, line: number | undefined): Message {
  const where = line === undefined ? "--data" : `--data, line ${line}`;
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw usageError(
      `${where} is not JSON: ${cause instanceof Error ? cause.message : sourceName(String(cause))}`,
    );
  }
  try {
    return fromJson(schema, json);
  } catch (cause) {
    const why =
      cause instanceof Error ? cause.message.replace(/^cannot decode (message |field )?/, "") : String(cause);
    const names = schema.fields.map(({ jsonName }) => jsonName).join(", ");
    throw usageError(`${where} is no ${schema.name}: ${why}`, `Its fields are ${names || "none: it is {}"}.`);
  }
}
