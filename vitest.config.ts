import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** Tests run the sources: the packages' names lead there, not to `dist`. */
export default defineConfig({
  resolve: {
    alias: [
      { find: /^@muster\/server$/, replacement: path("server/server.ts") },
      { find: /^@muster\/server\/(.+)$/, replacement: path("server/$1.ts") },
      { find: /^@muster\/worker$/, replacement: path("worker/worker.ts") },
      { find: /^@muster\/worker\/(.+)$/, replacement: path("worker/$1.ts") },
      { find: /^@muster\/client\/v1\/(.+)$/, replacement: path("gen/src/muster/v1/$1_pb.js") },
      { find: /^@muster\/client\/grpc\/health$/, replacement: path("gen/src/grpc/health/v1/health_pb.js") },
      {
        find: /^@muster\/client\/grpc\/reflection$/,
        replacement: path("gen/src/grpc/reflection/v1/reflection_pb.js"),
      },
      {
        find: /^@muster\/client\/grpc\/reflection-v1alpha$/,
        replacement: path("gen/src/grpc/reflection/v1alpha/reflection_pb.js"),
      },
      {
        find: /^@muster\/client\/(node|browser|errors|filter|grpc-js|webhooks)$/,
        replacement: path("gen/$1.ts"),
      },
    ],
  },
  test: {
    include: ["test/**/*.test.{ts,tsx}"],
    globalSetup: ["test/support/postgres.ts"],
    // Two cores, and every file has a database of its own.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    coverage: {
      provider: "v8",
      include: ["server/**/*.ts", "worker/**/*.ts", "tui/**/*.{ts,tsx}", "gen/*.ts"],
      exclude: ["**/dist/**", "gen/src/**", "**/*.d.ts"],
      reporter: ["text-summary", "lcov"],
      thresholds: { lines: 80 },
    },
  },
});
