import { readCluster } from "../store/coordinators.ts";
import type { Database } from "../store/database.ts";
import type { Loop } from "./loop.ts";

/** Tells when an embedded Postgres is gone for good: nobody restarts it; one of your own is waited for. */
export function databaseWatch(db: Database, nowMs: () => number, fail: (error: Error) => void): Loop {
  let aliveMs = nowMs();
  return {
    name: "database",
    intervalMs: 5_000,
    async pass() {
      try {
        await readCluster(db.sweep);
        aliveMs = nowMs();
      } catch (cause) {
        if (nowMs() - aliveMs < 30_000) throw cause;
        fail(new Error("the embedded Postgres is gone; start the coordinator again", { cause }));
      }
    },
  };
}
