import type { DescMethod } from "@bufbuild/protobuf";
import { getOption } from "@bufbuild/protobuf";
import { createClient, type Transport } from "@connectrpc/connect";
import { createMusterTransport } from "@muster/client/node";
import { access, Scope } from "@muster/client/v1/access";
import { KeyService } from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { apiServices, methodsWithoutAccess } from "../support/services.ts";

let muster: TestServer;
beforeAll(async () => {
  muster = await startTestServer();
});
afterAll(() => muster?.close());

const services = await apiServices();
const methods = services.flatMap((service) => service.methods);

/** What the proto asks for, in words. */
function askedBy(method: DescMethod): readonly string[] {
  return getOption(method, access).anyOf.map((scope) => Scope[scope].toLowerCase());
}

/** The reason with which a call with an empty request ends; undefined when it does not fail. */
async function reasonOf(method: DescMethod, transport: Transport): Promise<string | undefined> {
  const call: unknown = Reflect.get(createClient(method.parent, transport), method.localName);
  if (typeof call !== "function") throw new TypeError(`no client for ${method.name}`);
  const options = { timeoutMs: 10_000 };
  const answer = async (): Promise<unknown> => {
    if (method.methodKind === "unary") return call({}, options);
    const given = method.methodKind === "server_streaming" ? {} : (async function* () {})();
    for await (const message of call(given, options)) return message;
    return undefined;
  };
  return (await failure(answer())).detail?.reason;
}

describe("S7 a key opens the methods of its scopes alone", () => {
  test("every method lays down who may call it", () => {
    expect(methodsWithoutAccess(services)).toEqual([]);
  });

  test.each(["read", "submit", "work", "operate", "admin", "platform"])(
    "the scope %s, method by method",
    async (scope) => {
      const { text } = await muster.client(KeyService).createKey({ name: scope, scopes: [scope] });
      const transport = createMusterTransport({
        address: muster.server.apiAddress,
        key: text,
        httpVersion: "2",
      });
      let wrong = 0;
      for (const method of methods) {
        const asked = askedBy(method);
        // `admin` includes all but what keeps orgs.
        const isIncluded = scope === "admin" && asked.some((one) => one !== "platform");
        if (asked.length === 0 || asked.includes(scope) || isIncluded) continue;
        expect([method.name, await reasonOf(method, transport)]).toEqual([method.name, "SCOPE_MISSING"]);
        wrong++;
      }
      expect(wrong).toBeGreaterThan(scope === "admin" ? 5 : 15);
    },
    120_000,
  );

  test("a right scope is never what is missing", async () => {
    const transports = new Map<string, Transport>();
    for (const scope of ["read", "submit", "work", "operate", "admin", "platform"]) {
      const { text } = await muster.client(KeyService).createKey({ name: scope, scopes: [scope] });
      const options = { address: muster.server.apiAddress, key: text, httpVersion: "2" } as const;
      transports.set(scope, createMusterTransport(options));
    }
    for (const method of methods.filter(({ methodKind }) => methodKind === "unary")) {
      for (const scope of askedBy(method)) {
        const transport = transports.get(scope);
        if (transport === undefined) continue;
        const reason = await reasonOf(method, transport).catch(() => undefined);
        // A worker's own calls are for keys that belong to one.
        if (scope !== "work")
          expect([method.name, scope, reason]).not.toEqual([method.name, scope, "SCOPE_MISSING"]);
      }
    }
  }, 120_000);
});
