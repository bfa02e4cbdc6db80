import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { type Exporting, exportTraces, openTracing } from "../../worker/tracing.ts";
import { WorkerPeerApi } from "../support/worker-api.ts";
import { WorkerBench } from "../support/worker-bench.ts";

interface SentSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly status?: { readonly code?: number };
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
}

/** A collector of OpenTelemetry: takes OTLP in JSON over HTTP. */
async function collector() {
  const spans: SentSpan[] = [];
  const services: unknown[] = [];
  const paths: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    paths.push(request.url ?? "");
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString());
    for (const { resource, scopeSpans } of resourceSpans) {
      services.push(resource.attributes.find(({ key }: { key: string }) => key === "service.name")?.value);
      for (const scope of scopeSpans) spans.push(...scope.spans);
    }
    response.setHeader("content-type", "application/json").end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { spans, services, paths, url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

let exporting: Exporting | undefined;
afterEach(() => exporting?.close());

test("without an endpoint nothing is set up, and attempts have no spans", async () => {
  expect(await exportTraces({})).toBeUndefined();
  expect(
    await exportTraces({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://x", OTEL_SDK_DISABLED: "true" }),
  ).toBeUndefined();
  expect(await openTracing()).toBeUndefined();
});

test("an endpoint that is none is said", async () => {
  await expect(exportTraces({ OTEL_EXPORTER_OTLP_ENDPOINT: "localhost:4318" })).rejects.toThrow(
    "no URL of HTTP",
  );
});

test("an attempt and its spans are exported, within the trace of who submitted the job; a child job is in it, too", async () => {
  const otlp = await collector();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `${otlp.url}/`, OTEL_SERVICE_NAME: "render-farm" };
  exporting = await exportTraces(env);
  const [traceId, parentId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  {
    await using bench = await WorkerBench.open();
    await using api = await WorkerPeerApi.start(bench.peer);
    const worker = bench.worker({
      apiAddress: api.address,
      handlers: {
        noop: async (ctx) => {
          await ctx.span("db", async () => {
            await Promise.resolve();
            ctx.span("query", () => 1);
          });
          await ctx.submit({ kind: "child" });
          ctx.span("broken", () => {
            throw new Error("no");
          });
        },
      },
    });
    await worker.start();
    const lease = bench.peer.lease({ labels: { traceparent: `00-${traceId}-${parentId}-01` } });
    bench.peer.offer(lease);
    const result = await bench.peer.resultOf(lease.lease.leaseId);
    expect(result.profile?.spans.map(({ name }) => name)).toEqual(["db", "query", "broken"]);
    const submitted = JSON.stringify(api.submits.map(({ job }) => job?.labels));
    expect(submitted).toContain(`00-${traceId}-`);
    expect(submitted).not.toContain(parentId);
  }
  await exporting?.close();
  otlp.close();
  const of = (name: string) => otlp.spans.find((span) => span.name === name);
  const attempt = of("job noop");
  expect(otlp.paths).toEqual(["/v1/traces"]);
  expect(otlp.services).toEqual([{ stringValue: "render-farm" }]);
  expect(otlp.spans.map(({ traceId: id }) => id)).toEqual(otlp.spans.map(() => traceId));
  expect([attempt?.parentSpanId, of("db")?.parentSpanId]).toEqual([parentId, attempt?.spanId]);
  expect(of("query")?.parentSpanId).toBe(of("db")?.spanId);
  expect([of("broken")?.status?.code, attempt?.status?.code]).toEqual([2, 2]);
  const kinds = attempt?.attributes.find(({ key }) => key === "muster.job.kind")?.value;
  expect(kinds).toEqual({ stringValue: "noop" });
});
