import type { DescMethod, JsonValue } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { createContextKey } from "@connectrpc/connect";

/** What came in of a call that is written in JSON: kept while the call is read, to say what is wrong with it. */
export interface CallBody {
  readonly contentType: string;
  readonly isCompressed: boolean;
  readonly url: string;
  readonly chunks: Uint8Array[];
}

/** The body of the call; undefined when it is binary, or when nothing is kept. */
export const callBodyKey = createContextKey<CallBody | undefined>(undefined, { description: "call body" });

/**
 * Passes the body of a call with a single request through, and keeps its chunks if it is JSON; returns undefined
 * for any other. More than `maxBytes` is not kept: the call is refused for its size then.
 */
export function keepJsonBody(
  request: { readonly method: string; readonly url: string; readonly header: Headers },
  chunks: AsyncIterable<Uint8Array>,
  { methodKind, maxBytes }: { readonly methodKind: DescMethod["methodKind"]; readonly maxBytes: number },
): { readonly body: CallBody; readonly passed: AsyncIterable<Uint8Array> } | undefined {
  const contentType = request.header.get("content-type") ?? "";
  const isSingle = methodKind === "unary" || methodKind === "server_streaming";
  if (!isSingle || (request.method !== "GET" && !/\bjson\b/.test(contentType))) return undefined;
  const isCompressed = encodingHeaders.some((name) => /\S/.test(request.header.get(name) ?? ""));
  const body: CallBody = { contentType, isCompressed, url: request.url, chunks: [] };
  return { body, passed: passAndKeep(chunks, body.chunks, maxBytes) };
}

/** The JSON document of a body, or undefined when it cannot be read: compressed, cut short, or not JSON. */
export function parsedJsonBody(body: CallBody): JsonValue | undefined {
  try {
    const text = jsonText(body);
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

const encodingHeaders = ["content-encoding", "connect-content-encoding", "grpc-encoding"];

async function* passAndKeep(
  chunks: AsyncIterable<Uint8Array>,
  kept: Uint8Array[],
  maxBytes: number,
): AsyncIterable<Uint8Array> {
  let keptBytes = 0;
  for await (const chunk of chunks) {
    keptBytes += chunk.length;
    if (keptBytes <= maxBytes) kept.push(chunk);
    else kept.length = 0;
    yield chunk;
  }
}

function jsonText({ chunks, contentType, isCompressed, url }: CallBody): string | undefined {
  if (isCompressed) return undefined;
  if (contentType === "") {
    const query = new URL(url).searchParams;
    const message = query.get("message") ?? "";
    return query.get("base64") === "1" ? new TextDecoder().decode(base64Decode(message)) : message;
  }
  const bytes = Buffer.concat(chunks);
  if (/^application\/json\b/.test(contentType)) return bytes.toString("utf8");
  // An envelope: a byte of flags, four of length.
  if (bytes.length < 5 || bytes[0] !== 0) return undefined;
  return bytes.toString("utf8", 5, 5 + bytes.readUInt32BE(1));
}
