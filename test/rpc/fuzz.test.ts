import { type DescField, type DescMessage, type DescMethodUnary, ScalarType } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { readError } from "@muster/client/errors";
import { WorkerService } from "@muster/client/v1/worker_service";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId, type IdNoun } from "../../server/domain/ids.ts";
import { apiServices } from "../../server/rpc/routes.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { openApi, type TestApi } from "./api.ts";

let db: TestDatabase;
let api: TestApi;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await openApi(db);
});
afterAll(async () => {
  await api?.stop();
  await db?.close();
});

const nouns: IdNoun[] = ["job", "batch", "worker", "lease", "artifact"];

/** Text as callers write it: words, ids of any noun, revisions, and what nobody should write. */
const text = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "default",
    "\0",
    "\u001b[2J",
    "%00",
    "..",
    "a".repeat(300),
    "1.1.0",
    "1.1.99999",
    "é🙂",
  ),
  fc.string({ unit: "binary" }).map((one) => one.toWellFormed()),
  fc.uuid().chain((id) => fc.constantFrom(...nouns.map((noun) => encodeId(noun, id)))),
);

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.oneof(
        fc.json().map((one) => Buffer.from(one)),
        fc.uint8Array({ maxLength: 20 }),
      );
    case ScalarType.DOUBLE:
      return fc.double();
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return fc.oneof(
        fc.bigInt({ min: -3n, max: 3n }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      );
    default:
      return fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer());
  }
}

function single(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message !== undefined) return message(field.message, depth + 1);
  if (field.enum !== undefined) return fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer());
  return scalar(field.scalar ?? ScalarType.STRING);
}

function message(desc: DescMessage, depth = 0): fc.Arbitrary<Record<string, unknown>> {
  // Deep enough to reach every field, shallow enough to end.
  if (depth > 5) return fc.constant({});
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const cases = member.fields.map((field) =>
        single(field, depth).map((value) => ({ case: field.localName, value })),
      );
      fields[member.localName] = fc.oneof(...cases);
    } else if (member.fieldKind === "list") {
      fields[member.localName] = fc.array(single(member, depth), { maxLength: 3 });
    } else if (member.fieldKind === "map") {
      fields[member.localName] = fc.dictionary(text, single(member, depth), { maxKeys: 3 });
    } else fields[member.localName] = single(member, depth);
  }
  return fc.record(fields, { requiredKeys: [] });
}

const methods = apiServices
  .filter((service) => service.typeName !== WorkerService.typeName && service.typeName.startsWith("muster."))
  .flatMap((service) => service.methods)
  .filter((method): method is DescMethodUnary => method.methodKind === "unary");

describe("no request ends in an internal error", () => {
  test.each(methods.map((method) => [`${method.parent.name}/${method.name}`, method] as const))(
    "%s",
    async (_name, method) => {
      const { headers } = await api.client();
      const transport = createConnectTransport({
        baseUrl: api.address,
        httpVersion: "2",
        useBinaryFormat: true,
      });
      await fc.assert(
        fc.asyncProperty(message(method.input), async (init) => {
          // Waits are asked for shortly, whatever the message says.
          const request =
            "timeout" in init ? { ...init, timeout: {} } : "wait" in init ? { ...init, wait: {} } : init;
          const isWait = method.name.startsWith("Wait");
          const sent = isWait ? { ...request, timeout: {} } : request;
          const outcome = await transport.unary(method, undefined, undefined, headers, sent).then(
            () => null,
            (error: unknown) => readError(error),
          );
          if (outcome === null) return;
          expect([Code.Internal, Code.Unknown, Code.Unavailable]).not.toContain(outcome.code);
          expect(outcome.detail?.reason).toMatch(/^[A-Z][A-Z_]+$/);
          expect(outcome.detail?.suggestion).toMatch(/\S/);
        }),
        { numRuns: 60, endOnFailure: true },
      );
    },
  );
});
