import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Health } from "@muster/client/grpc/health";

/** Another client of a server under attack. */
export interface OtherClient {
  /** The 99th of a hundred latencies of its calls, in milliseconds, over some calls one after the other. */
  p99Ms(calls: number): Promise<number>;
}

/** Opens one. Its calls are health checks, which ask neither key nor database: what they wait for is the edge. */
export function otherClient(address: string): OtherClient {
  const client = createClient(Health, createGrpcTransport({ baseUrl: address }));
  return {
    async p99Ms(calls) {
      const took: number[] = [];
      for (let call = 0; call < calls; call++) {
        const startedMs = performance.now();
        await client.check({});
        took.push(performance.now() - startedMs);
      }
      took.sort((one, other) => one - other);
      return took[Math.floor(took.length * 0.99)] ?? 0;
    },
  };
}
