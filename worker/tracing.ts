import type { Context, Span, Tracer } from "@opentelemetry/api";
import { withinMs } from "./clock.ts";

/** A span of OpenTelemetry. */
export interface TraceSpan {
  /** Begins one inside of it. */
  child(name: string): TraceSpan;
  /** Runs `body` with it as the active span: what other libraries trace is inside of it. */
  within<T>(body: () => T): T;
  /** Ends it. */
  end(failure?: { readonly thrown: unknown }): void;
  /** It as a W3C `traceparent`, for what it starts elsewhere; undefined when it is not recorded. */
  readonly traceparent: string | undefined;
}

/** Makes the spans of attempts. */
export interface Tracing {
  /** Begins the span of an attempt; within the span of who submitted the job, where its label `traceparent` names one. */
  attempt(of: {
    readonly kind: string;
    readonly jobId: string;
    readonly attempt: number;
    readonly queue: string;
    readonly traceparent: string | undefined;
  }): TraceSpan;
}

/** The label of a job that holds the span of who submitted it, in the form of W3C. */
export const traceLabel = "traceparent";

/**
 * Spans through `@opentelemetry/api`, when this process has an SDK of OpenTelemetry that was set up before; undefined
 * otherwise: then nothing is loaded.
 */
export async function openTracing(): Promise<Tracing | undefined> {
  if (!(Symbol.for("opentelemetry.js.api.1") in globalThis)) return undefined;
  const api = await import("@opentelemetry/api");
  const tracer = api.trace.getTracer("@muster/worker");
  const spanOf = (span: Span, context: Context): TraceSpan => ({
    child: (name) => {
      const inner = tracer.startSpan(name, {}, context);
      return spanOf(inner, api.trace.setSpan(context, inner));
    },
    within: (body) => api.context.with(context, body),
    end: (failure) => {
      if (failure !== undefined) {
        const { thrown } = failure;
        span.setStatus({
          code: api.SpanStatusCode.ERROR,
          message: thrown instanceof Error ? thrown.message : String(thrown),
        });
      }
      span.end();
    },
    get traceparent() {
      const { traceId, spanId, traceFlags } = span.spanContext();
      if (!api.isSpanContextValid(span.spanContext())) return undefined;
      return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
    },
  });
  return {
    attempt({ kind, jobId, attempt, queue, traceparent }) {
      const parent = parentOf(traceparent);
      const root = api.ROOT_CONTEXT;
      const context = parent === undefined ? root : api.trace.setSpanContext(root, parent);
      const span = startAttempt(tracer, kind, context, {
        "muster.job.id": jobId,
        "muster.job.kind": kind,
        "muster.job.attempt": attempt,
        "muster.job.queue": queue,
      });
      return spanOf(span, api.trace.setSpan(context, span));
    },
  };
}

/** Exports spans until it is closed. */
export interface Exporting {
  /** Sends what is left, for 5 s at most. Never rejects. */
  close(): Promise<void>;
}

/**
 * Sets this process up to export spans by OTLP over HTTP, as the usual variables of OpenTelemetry say, when
 * `OTEL_EXPORTER_OTLP_ENDPOINT` or the one for traces is among them; undefined otherwise: then nothing is loaded. To be
 * called before `openTracing`. Throws when they make no sense.
 */
export async function exportTraces(
  env: Readonly<Record<string, string | undefined>>,
): Promise<Exporting | undefined> {
  const base = env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  const url = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ?? (base && `${base.replace(/\/+$/, "")}/v1/traces`);
  if (!url || env["OTEL_SDK_DISABLED"] === "true") return undefined;
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    throw new Error(`the endpoint of OpenTelemetry is no URL of HTTP: ${JSON.stringify(url)}`);
  }
  const [api, { BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, resources] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const service = env["OTEL_SERVICE_NAME"] || "muster-worker";
  const resource = resources
    .defaultResource()
    .merge(resources.resourceFromAttributes({ "service.name": service }));
  const provider = new TracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) })],
  });
  api.trace.setGlobalTracerProvider(provider);
  return {
    async close() {
      api.trace.disable();
      await withinMs(lastExportMs, provider.shutdown(), undefined).catch(() => undefined);
    },
  };
}

const lastExportMs = 5_000;

function startAttempt(
  tracer: Tracer,
  kind: string,
  context: Context,
  attributes: Record<string, string | number>,
): Span {
  // CONSUMER: it takes up what somebody else submitted.
  return tracer.startSpan(`job ${kind}`, { kind: 4, attributes }, context);
}

// Version 00 of the W3C recommendation; anything else starts a trace of its own.
function parentOf(traceparent: string | undefined) {
  const [, traceId, spanId, flags] =
    /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}
