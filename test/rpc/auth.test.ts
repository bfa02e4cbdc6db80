import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { readError } from "@muster/client/errors";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import type { Caller } from "../../server/domain/context.ts";
import { type KeyScope, keyScopes } from "../../server/domain/keys.ts";
import { callerOf } from "../../server/rpc/auth.ts";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { accessTo, methodAccess, missingScope } from "../../server/rpc/scopes.ts";
import { jsonHeaders, listening as open, type Stubs, send, statusAnswer } from "./listening.ts";

const opened: ApiListener[] = [];
async function listening(stubs?: Stubs) {
  const listener = await open(stubs);
  opened.push(listener);
  return listener;
}
afterEach(async () => {
  await Promise.all(opened.splice(0).map((listener) => listener.stop({ graceMs: 0 })));
});

const statusPath = "/muster.v1.StatusService/GetStatus";

async function failure(call: Promise<unknown>) {
  return readError(
    await call.then(
      () => undefined,
      (reason: unknown) => reason,
    ),
  );
}

describe("the access table", () => {
  test("knows every method of every service, and no other", async () => {
    const declared: Record<string, string[]> = {};
    for await (const file of glob("proto/muster/v1/*_service.proto")) {
      const text = readFileSync(file, "utf8");
      const service = /^service (\w+)/m.exec(text)?.[1] ?? "";
      declared[`muster.v1.${service}`] = [...text.matchAll(/^ {2}rpc (\w+)/gm)].map(
        (match) => match[1] ?? "",
      );
    }
    const known = Object.entries(methodAccess).map(([service, methods]) => [
      service,
      Object.keys(methods).sort(),
    ]);
    const all = Object.entries(declared).map(([service, methods]) => [service, methods.toSorted()]);
    expect(Object.fromEntries(known)).toEqual(Object.fromEntries(all));
    expect(all.length).toBeGreaterThan(8);
  });

  test("asks every method for a scope, who calls for any key, and health and, by configuration, reflection for none", () => {
    for (const [service, methods] of Object.entries(methodAccess)) {
      for (const method of Object.keys(methods)) {
        const access = accessTo(service, method, "on");
        expect(Array.isArray(access) || `${service}/${method} ${access}`).toSatisfy(
          (found) => found === true || found === "muster.v1.KeyService/WhoAmI any-key",
        );
      }
    }
    expect(accessTo("grpc.health.v1.Health", "Check", "authenticated")).toBe("anybody");
    for (const version of ["v1", "v1alpha"]) {
      const service = `grpc.reflection.${version}.ServerReflection`;
      expect(accessTo(service, "ServerReflectionInfo", "on")).toBe("anybody");
      expect(accessTo(service, "ServerReflectionInfo", "authenticated")).toBe("any-key");
    }
    expect(accessTo("muster.v1.JobService", "Nothing", "on")).toBeUndefined();
  });

  test.each(keyScopes.map((scope) => [scope]))("scope %s opens exactly its methods", (scope: KeyScope) => {
    for (const methods of Object.values(methodAccess)) {
      for (const access of Object.values(methods)) {
        if (access === "any-key") continue;
        if (!Array.isArray(access)) throw new TypeError("every other method asks for a scope");
        const opens = scope === "admin" || access.includes(scope);
        expect(missingScope(access, [scope]) === undefined).toBe(opens);
        expect(missingScope(access, [])).toBe(access[0]);
      }
    }
  });
});

describe("a call", () => {
  test.each([
    ["without a key", undefined, "The call has no key"],
    ["with an empty key", "", "The call has no key"],
    ["of another scheme", "Basic Z29vZA==", "The authorization header is not of the form Bearer mk_…"],
    ["with a scheme alone", "Bearer", "The authorization header is not of the form Bearer mk_…"],
    ["with two keys", "Bearer good good", "The authorization header is not of the form Bearer mk_…"],
    ["with a wrong key", "Bearer wrong", "The key is missing or not valid."],
  ])("%s is refused with a suggestion", async (_name, authorization, message) => {
    const { address } = await listening();
    const headers = {
      "content-type": "application/json",
      ...(authorization === undefined ? {} : { authorization }),
    };
    const answer = await send(address, { path: statusPath, headers, body: "{}" });
    expect(answer.status).toBe(401);
    expect(answer.json).toMatchObject({
      code: "unauthenticated",
      message,
      details: [
        {
          debug: {
            reason: "KEY_INVALID",
            suggestion: "Send a valid key as `authorization: Bearer mk_…`.",
            requestId: answer.headers["x-request-id"],
          },
        },
      ],
    });
  });

  test("with a valid key reaches the method with its caller, whatever the case of the scheme", async () => {
    const callers: Caller[] = [];
    const { address } = await listening({
      scopes: ["read"],
      status: {
        getStatus(_request, context) {
          callers.push(callerOf(context));
          return statusAnswer();
        },
      },
    });
    const headers = { ...jsonHeaders, authorization: "bearer  good", "x-request-id": "abc" };
    expect((await send(address, { path: statusPath, headers, body: "{}" })).status).toBe(200);
    expect(callers).toMatchObject([{ scopes: ["read"], requestId: "abc" }]);
  });

  test("without the scope of its method is refused, naming the scope", async () => {
    const { address } = await listening({ scopes: ["read"] });
    const client = createClient(JobService, createConnectTransport({ baseUrl: address, httpVersion: "1.1" }));
    const headers = { authorization: "Bearer good" };
    const error = await failure(client.submitJob({}, { headers }));
    expect(error.code).toBe(Code.PermissionDenied);
    expect(error.detail).toMatchObject({ reason: "SCOPE_MISSING", metadata: { scope: "submit" } });
  });

  test("is refused before its body is read, and its sender still reads why", async () => {
    const { address } = await listening();
    const job = { title: "x".repeat(3_000_000) };
    for (const transport of [
      createGrpcTransport({ baseUrl: address }),
      createConnectTransport({ baseUrl: address, httpVersion: "1.1" }),
      createConnectTransport({ baseUrl: address, httpVersion: "2" }),
    ]) {
      const error = await failure(createClient(JobService, transport).submitJob({ job }));
      expect([error.code, error.detail?.reason]).toEqual([Code.Unauthenticated, "KEY_INVALID"]);
    }
    // A body that is no JSON at all is not looked at either.
    const headers = { "content-type": "application/json" };
    expect((await send(address, { path: statusPath, headers, body: "{" })).status).toBe(401);
  });

  test("whose key cannot be looked up is unavailable, not refused", async () => {
    const { address, log } = await listening({
      async authenticate() {
        throw Object.assign(new Error("connect ECONNREFUSED 10.0.0.7:5432"), { code: "ECONNREFUSED" });
      },
    });
    const answer = await send(address, { path: statusPath, body: "{}" });
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain("DATABASE_UNAVAILABLE");
    expect(answer.body.toString()).not.toContain("10.0.0.7");
    expect(log.lines).toMatchObject([{ level: "warn", fields: { reason: "DATABASE_UNAVAILABLE" } }]);
  });
});
