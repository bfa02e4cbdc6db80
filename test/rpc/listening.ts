import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { Health } from "@muster/client/grpc/health";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { JobService } from "@muster/client/v1/job_service";
import {
  type GetStatusResponse,
  GetStatusResponseSchema,
  StatusService,
} from "@muster/client/v1/status_service";
import type { Caller, Log } from "../../server/domain/context.ts";
import { unauthenticated } from "../../server/domain/errors.ts";
import type { Authenticate } from "../../server/rpc/auth.ts";
import { createCallGate } from "../../server/rpc/gate.ts";
import { HealthState, healthService } from "../../server/rpc/health.ts";
import { type ApiListener, type ApiListenerOptions, startApiListener } from "../../server/rpc/listener.ts";
import { reflectionAlphaService, reflectionService, reflectSchema } from "../../server/rpc/reflection.ts";
import type { ReflectionMode } from "../../server/rpc/scopes.ts";

/** Log lines of a test: what was logged, by level. */
export interface Logged extends Log {
  readonly lines: { level: string; fields: Record<string, unknown>; message: string }[];
}

/** A log that keeps its lines. */
export function keepingLog(): Logged {
  const lines: Logged["lines"] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** The caller of the key `good`, with these scopes. */
export function callerWith(scopes: readonly string[], requestId = "req_test"): Caller {
  return {
    orgId: "0198a000-0000-7000-8000-000000000001",
    actor: "key:test",
    type: "api",
    keyId: "test",
    workerId: null,
    scopes,
    requestId,
  };
}

/** What a test's listener answers with. */
export interface Stubs {
  readonly status?: Partial<ServiceImpl<typeof StatusService>>;
  readonly jobs?: Partial<ServiceImpl<typeof JobService>>;
  readonly scopes?: readonly string[];
  readonly reflection?: ReflectionMode;
  readonly authenticate?: Authenticate;
  readonly options?: Partial<ApiListenerOptions>;
}

/** A listener on a free port; `bearer good` has the scopes of `stubs`, every other key is invalid. */
export async function listening(
  stubs: Stubs = {},
): Promise<ApiListener & { readonly health: HealthState; readonly log: Logged }> {
  const log = keepingLog();
  const health = new HealthState([StatusService.typeName]);
  health.setServing(true);
  const schema = reflectSchema([Health, ServerReflection, StatusService, JobService]);
  const gate = createCallGate({
    log,
    reflection: stubs.reflection ?? "on",
    authenticate:
      stubs.authenticate ??
      (async (token, requestId) => {
        if (token !== "good") throw unauthenticated();
        return callerWith(stubs.scopes ?? ["admin"], requestId);
      }),
  });
  const routes = (router: ConnectRouter): void => {
    router.service(Health, healthService(health));
    router.service(ServerReflection, reflectionService(schema));
    router.service(ServerReflectionAlpha, reflectionAlphaService(schema));
    router.service(StatusService, { getStatus: () => statusAnswer(), ...stubs.status });
    router.service(JobService, stubs.jobs ?? {});
  };
  const listener = await startApiListener({
    host: "127.0.0.1",
    port: 0,
    routes,
    gate,
    interceptors: [],
    extraRoutes: [],
    ready: async () => null,
    health,
    corsOrigins: [],
    log,
    signal: new AbortController().signal,
    ...stubs.options,
  });
  return { ...listener, health, log };
}

/** An answer of GetStatus that can be recognised. */
export function statusAnswer(): GetStatusResponse {
  return create(GetStatusResponseSchema, { status: { org: "acme" } });
}

/** What came back over plain HTTP/1.1. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: unknown;
}

/** One HTTP/1.1 request, as curl makes it. */
export function send(
  address: string,
  options: {
    readonly path: string;
    readonly method?: string;
    readonly headers?: OutgoingHttpHeaders;
    readonly body?: string | Uint8Array;
  },
): Promise<Answer> {
  const { path, method = "POST", headers, body = "" } = options;
  return new Promise((resolve, reject) => {
    const outgoing = request(`${address}${path}`, { method, headers: headers ?? jsonHeaders }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: bytes,
          json: parsed(bytes.toString("utf8")),
        });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** What curl sends with a key. */
export const jsonHeaders = { "content-type": "application/json", authorization: "Bearer good" };

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
