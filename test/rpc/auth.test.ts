import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { readError } from "@muster/client/errors";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import type { Caller } from "../../server/domain/context.ts";
import { type KeyScope, keyScopes } from "../../server/domain/keys.ts";
import { callerOf } from "../../server/rpc/auth.ts";
import type { ApiListener } from "../../server/rpc/listener.ts";
import { accessTo, missingScope } from "../../server/rpc/scopes.ts";
import { apiServices, methodsWithoutAccess } from "../support/services.ts";
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

const services = await apiServices();
const methods = services.flatMap((service) => service.methods);
const asked = methods.map((method) => ({ method, access: accessTo(method, "on") }));

describe("the access to methods", () => {
  test("is laid down for every method of every service", async () => {
    expect(methodsWithoutAccess(services)).toEqual([]);
    expect(methodsWithoutAccess([...services, Health])).toEqual([
      "grpc.health.v1.Health/Check",
      "grpc.health.v1.Health/List",
      "grpc.health.v1.Health/Watch",
    ]);
    expect(asked.filter(({ access }) => access === undefined)).toEqual([]);
    expect(services.length).toBeGreaterThan(8);
  });

  test("asks every method for a scope, but few", () => {
    const others = asked.flatMap(({ method, access }) =>
      Array.isArray(access) ? [] : [`${method.parent.typeName}/${method.name} ${String(access)}`],
    );
    expect(others).toEqual([
      // Whose key it is, says the verb: an enrolment's, or a person's.
      "muster.v1.EnrolmentService/Enrol any-key",
      "muster.v1.EnrolmentService/EnrolOwnWorker any-key",
      "muster.v1.KeyService/WhoAmI any-key",
      "muster.v1.PersonService/Register anybody",
      "muster.v1.PersonService/Login anybody",
      "muster.v1.PersonService/LoginByProvider anybody",
      "muster.v1.PersonService/Refresh anybody",
      "muster.v1.PersonService/Logout any-key",
      "muster.v1.PersonService/ChangePassword any-key",
      "muster.v1.PersonService/StartDeviceLogin anybody",
      "muster.v1.PersonService/FinishDeviceLogin anybody",
      "muster.v1.PersonService/ApproveDeviceLogin any-key",
      "muster.v1.PersonService/StartGithubLink any-key",
      "muster.v1.PersonService/FinishGithubLink any-key",
      "muster.v1.PersonService/UnlinkGithub any-key",
      "muster.v1.PersonService/ResetPassword anybody",
      "muster.v1.PersonService/AcceptInvitation any-key",
    ]);
  });

  test("asks health and, by configuration, reflection for none", () => {
    expect(accessTo(Health.method.check, "authenticated")).toBe("anybody");
    for (const reflection of [ServerReflection, ServerReflectionAlpha]) {
      const method = reflection.method.serverReflectionInfo;
      expect(accessTo(method, "on")).toBe("anybody");
      expect(accessTo(method, "authenticated")).toBe("any-key");
    }
  });

  test.each(keyScopes.map((scope) => [scope]))("scope %s opens exactly its methods", (scope: KeyScope) => {
    for (const { access } of asked) {
      if (access === "any-key" || access === "anybody") continue;
      if (!Array.isArray(access)) throw new TypeError("every other method asks for a scope");
      const isOrgs = access.every((one: string) => one === "platform");
      const opens = (scope === "admin" && !isOrgs) || access.includes(scope);
      expect(missingScope(access, [scope]) === undefined).toBe(opens);
      expect(missingScope(access, [])).toBe(access[0]);
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
