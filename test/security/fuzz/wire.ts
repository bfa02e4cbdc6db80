import { type ClientHttp2Session, connect, constants } from "node:http2";

/** How a call is written. */
export type Form = "connect-proto" | "connect-json" | "connect-stream" | "grpc";

/** One call as bytes. */
export interface WireCall {
  readonly path: string;
  readonly form: Form;
  readonly key: string | undefined;
  /** Messages without envelopes; forms of a single message send the first. */
  readonly messages: readonly Buffer[];
  /** After how long a call that has not ended is given up. */
  readonly patienceMs: number;
  readonly timeoutMs?: number;
}

/** How it ended: `ok`, a code of Connect, `left` for one that was given up, `cut` for a stream that broke. */
export interface WireAnswer {
  readonly code: string;
  readonly text: string;
  /** The first message of the answer. */
  readonly message: Buffer | undefined;
}

/** The codes of Connect by the numbers of gRPC. */
const codes = (
  "ok canceled unknown invalid_argument deadline_exceeded not_found already_exists permission_denied " +
  "resource_exhausted failed_precondition aborted out_of_range unimplemented internal unavailable data_loss " +
  "unauthenticated"
).split(" ");

/** Sessions of HTTP/2 to one address, in turn; a broken one is replaced. */
export class Sessions {
  readonly #address: string;
  readonly #sessions: (ClientHttp2Session | undefined)[];
  #turn = 0;

  constructor(address: string, count: number) {
    this.#address = address;
    this.#sessions = Array.from({ length: count }, () => undefined);
  }

  next(): ClientHttp2Session {
    this.#turn = (this.#turn + 1) % this.#sessions.length;
    const kept = this.#sessions[this.#turn];
    if (kept !== undefined && !kept.closed && !kept.destroyed) return kept;
    const fresh = connect(this.#address, { maxSessionMemory: 64 });
    fresh.on("error", () => fresh.destroy());
    this.#sessions[this.#turn] = fresh;
    return fresh;
  }

  close(): void {
    for (const session of this.#sessions) session?.destroy();
  }
}

/** Makes a call; always resolves. */
export function makeCall(session: ClientHttp2Session, call: WireCall): Promise<WireAnswer> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": call.path,
      "content-type": contentTypes[call.form],
      ...(call.form === "grpc" ? { te: "trailers" } : { "connect-protocol-version": "1" }),
      ...(call.key === undefined ? {} : { authorization: `Bearer ${call.key}` }),
      ...(call.timeoutMs === undefined
        ? {}
        : call.form === "grpc"
          ? { "grpc-timeout": `${call.timeoutMs}m` }
          : { "connect-timeout-ms": String(call.timeoutMs) }),
    });
    const chunks: Buffer[] = [];
    let headers: Readonly<Record<string, unknown>> = {};
    let isLeft = false;
    let status = 0;
    const patience = setTimeout(() => {
      isLeft = true;
      stream.close(constants.NGHTTP2_CANCEL);
    }, call.patienceMs);
    stream.on("response", (response) => {
      status = Number(response[":status"]);
      headers = { ...headers, ...response };
    });
    stream.on("trailers", (trailers) => {
      headers = { ...headers, ...trailers };
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => {});
    stream.on("close", () => {
      clearTimeout(patience);
      const answer = read(call.form, status, headers, Buffer.concat(chunks));
      resolve(answer.code === "cut" && isLeft ? { ...answer, code: "left" } : answer);
    });
    if (call.form === "connect-proto" || call.form === "connect-json") stream.end(call.messages[0]);
    else {
      for (const message of call.messages) stream.write(enveloped(message));
      stream.end();
    }
  });
}

const contentTypes: Readonly<Record<Form, string>> = {
  "connect-proto": "application/proto",
  "connect-json": "application/json",
  "connect-stream": "application/connect+proto",
  grpc: "application/grpc+proto",
};

function enveloped(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function read(
  form: Form,
  status: number,
  headers: Readonly<Record<string, unknown>>,
  body: Buffer,
): WireAnswer {
  if (form === "grpc") {
    const code = headers["grpc-status"];
    const message = body.length >= 5 ? body.subarray(5, 5 + body.readUInt32BE(1)) : undefined;
    if (code === undefined) return { code: "cut", text: `status ${status}`, message };
    return { code: codes[Number(code)] ?? "unknown", text: String(headers["grpc-message"] ?? ""), message };
  }
  if (form === "connect-stream" && status === 200) return readStream(body);
  if (status === 200) return { code: "ok", text: "", message: body };
  if (status === 0) return { code: "cut", text: "", message: undefined };
  return { ...errorOf(body.toString("utf8")), message: undefined };
}

function readStream(body: Buffer): WireAnswer {
  let message: Buffer | undefined;
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    const part = body.subarray(at + 5, at + 5 + length);
    if (((body[at] ?? 0) & 2) !== 0) {
      const end = part.toString("utf8");
      return { ...(end.includes('"error"') ? errorOf(errorText(end)) : { code: "ok", text: "" }), message };
    }
    message ??= part;
    at += 5 + length;
  }
  return { code: "cut", text: "", message };
}

function errorText(end: string): string {
  const parsed: unknown = JSON.parse(end);
  return JSON.stringify(Reflect.get(Object(parsed), "error"));
}

function errorOf(text: string): { readonly code: string; readonly text: string } {
  const code = /^\{"code":"(\w+)"/.exec(text)?.[1];
  return code === undefined ? { code: "unknown", text: `no error: ${text}` } : { code, text };
}
