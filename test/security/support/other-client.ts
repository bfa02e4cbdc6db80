import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Health } from "@muster/client/grpc/health";

/** Another client of a server under attack. */
export interface OtherClient {
  /**
   * The 99th of a hundred latencies of its calls, in milliseconds: that of the best of five rounds, because what else
   * the machine does slows a round too.
   */
  p99Ms(): Promise<number>;
  /** That of one round. */
  roundMs(): Promise<number>;
}

/** Opens one. Its calls are health checks, which ask neither key nor database: what they wait for is the edge. */
export function otherClient(address: string): OtherClient {
  const client = createClient(Health, createGrpcTransport({ baseUrl: address }));
  return {
    async p99Ms() {
      const rounds: number[] = [];
      for (let round = 0; round < 5; round++) rounds.push(await roundMs(() => client.check({})));
      return Math.min(...rounds);
    },
    roundMs: () => roundMs(() => client.check({})),
  };
}

async function roundMs(call: () => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let calls = 0; calls < 100; calls++) {
    const startedMs = performance.now();
    await call();
    took.push(performance.now() - startedMs);
  }
  took.sort((one, other) => one - other);
  return took[98] ?? 0;
}
