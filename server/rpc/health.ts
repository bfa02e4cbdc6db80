import { Code, type ServiceImpl } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { type Health, HealthCheckResponse_ServingStatus as ServingStatus } from "@muster/client/grpc/health";

/**
 * Whether this coordinator takes calls: one answer for the whole (`""`) and for each service. Starts as not
 * serving; `server.ts` sets it when all stands, and takes it back first when it stops.
 */
export class HealthState {
  readonly #services: ReadonlySet<string>;
  readonly #changes = new EventTarget();
  #isServing = false;

  /** `services` are the full names of those that are served besides the whole. */
  constructor(services: readonly string[]) {
    this.#services = new Set(["", ...services]);
  }

  get isServing(): boolean {
    return this.#isServing;
  }

  get services(): readonly string[] {
    return [...this.#services];
  }

  /** Tells all watchers; setting what is set already tells nobody. */
  setServing(isServing: boolean): void {
    if (isServing === this.#isServing) return;
    this.#isServing = isServing;
    this.#changes.dispatchEvent(new Event("change"));
  }

  /** Undefined for a service that is not served here. */
  statusOf(service: string): ServingStatus | undefined {
    if (!this.#services.has(service)) return undefined;
    return this.#isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  /** Resolves at the next change, or when the signal is aborted. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#changes.removeEventListener("change", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#changes.addEventListener("change", done);
      signal.addEventListener("abort", done);
    });
  }
}

/** `grpc.health.v1.Health`, for connect-es and, by `grpcJsHandlers`, for grpc-js. */
export function healthService(state: HealthState): ServiceImpl<typeof Health> {
  return {
    check({ service }) {
      const status = state.statusOf(service);
      if (status === undefined) throw unknownService(service);
      return { status };
    },
    list() {
      const statuses = state.services.map((name) => [name, { status: state.statusOf(name) ?? 0 }] as const);
      return { statuses: Object.fromEntries(statuses) };
    },
    async *watch({ service }, { signal }) {
      let sent: ServingStatus | undefined;
      for (;;) {
        const status = state.statusOf(service) ?? ServingStatus.SERVICE_UNKNOWN;
        if (status !== sent) yield { status };
        sent = status;
        await (signal.aborted ? undefined : state.changed(signal));
        // A change that came together with the stop is still told.
        if (signal.aborted && (state.statusOf(service) ?? sent) === sent) return;
      }
    },
  };
}

function unknownService(service: string): Error {
  const name = service.length > 100 ? `${service.slice(0, 99)}…` : service;
  return makeError(Code.NotFound, `There is no service ${name} here`, {
    reason: "SERVICE_NOT_FOUND",
    metadata: { service: name },
    suggestion: "List the services with Health/List, or leave the name empty for the whole.",
  });
}
