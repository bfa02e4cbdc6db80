import {
  create,
  type DescMessage,
  fromJson,
  type JsonValue,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import type { JsonObject } from "../input/message-document.ts";
import { type PlainMap, plainMessage } from "../output/message-document.ts";
import type { NameForm } from "./bounds.ts";
import type { DocumentKind } from "./documents.ts";

/** A sort of thing that files describe, and that the coordinator keeps. Specs are messages without what the server sets. */
export interface Resource extends DocumentKind {
  /** What the server's violations call the message: `schedule`. */
  readonly field: string;
  /** How it is now, as people write it; null when there is none. */
  read(call: Call, name: string): Promise<PlainMap | null>;
  /** What the server would make of a spec, which changes nothing. Rejects with what is wrong with it. */
  check(call: Call, name: string, spec: JsonObject): Promise<PlainMap>;
  /** Makes it so. */
  put(call: Call, name: string, spec: JsonObject, reason: string): Promise<void>;
  /** Takes it away; one that is not there is gone already. */
  remove(call: Call, name: string, reason: string): Promise<void>;
  /** All of them, by name. */
  list(call: Call): Promise<readonly { readonly name: string; readonly spec: PlainMap }[]>;
}

/** What is particular to a resource whose message has its name. */
export interface NamedResource<Desc extends DescMessage> {
  readonly kind: string;
  readonly field: string;
  readonly schema: Desc;
  readonly without: readonly string[];
  readonly names?: NameForm;
  /** Fields of `without` that tell whether it changed nevertheless. */
  readonly compared?: readonly string[];
  get(call: Call, name: string): Promise<MessageShape<Desc> | undefined>;
  put(
    call: Call,
    message: MessageShape<Desc>,
    how: { readonly isDryRun: boolean; readonly reason: string },
  ): Promise<MessageShape<Desc> | undefined>;
  remove(call: Call, name: string, reason: string): Promise<unknown>;
  page(
    call: Call,
    pageToken: string,
  ): Promise<{ readonly items: readonly MessageShape<Desc>[]; readonly nextPageToken: string }>;
}

/** Makes a resource of what is particular to it. */
export function resource<Desc extends DescMessage>(own: NamedResource<Desc>): Resource {
  const { kind, field, schema, without } = own;
  const hidden = without.filter((name) => own.compared?.includes(name) !== true);
  const messageOf = (name: string, spec: JsonObject): MessageShape<Desc> =>
    fromJson(schema, { ...spec, name });
  return {
    ...{ kind, field, schema, without, ...(own.names && { names: own.names }) },
    async read(call, name) {
      const found = await orNull(() => own.get(call, name));
      return found === null || found === undefined ? null : plain(schema, found, hidden);
    },
    async check(call, name, spec) {
      const message = messageOf(name, spec);
      return plain(schema, (await own.put(call, message, { isDryRun: true, reason: "" })) ?? message, hidden);
    },
    async put(call, name, spec, reason) {
      await own.put(call, messageOf(name, spec), { isDryRun: false, reason });
    },
    async remove(call, name, reason) {
      await orNull(() => own.remove(call, name, reason));
    },
    async list(call) {
      const found: { name: string; spec: PlainMap }[] = [];
      for (let pageToken = "", isFirst = true; isFirst || pageToken !== ""; isFirst = false) {
        const { items, nextPageToken } = await own.page(call, pageToken);
        for (const item of items)
          found.push({ name: nameOf(schema, item), spec: plain(schema, item, without) });
        pageToken = nextPageToken;
      }
      return found;
    },
  };
}

/** A message as people write it. */
export function plain<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  without: readonly string[],
): PlainMap {
  return plainMessage(schema, toJson(schema, message), without);
}

/** What a call answers with; null when it answers that there is none. */
export async function orNull<Answer>(call: () => Promise<Answer>): Promise<Answer | null> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return null;
    throw error;
  }
}

/** The message of a spec. */
export function messageOf<Desc extends DescMessage>(schema: Desc, json: JsonValue): MessageShape<Desc> {
  return json === null ? create(schema) : fromJson(schema, json);
}

function nameOf<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): string {
  const json = toJson(schema, message);
  const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
  return isObject && typeof json["name"] === "string" ? json["name"] : "";
}
