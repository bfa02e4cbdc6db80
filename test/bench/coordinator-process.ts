import { readFileSync, writeSync } from "node:fs";
import { startServer } from "@muster/server";
import { loadConfig } from "@muster/server/config";

// A coordinator on an embedded, durable Postgres, or on one that is given. Reports its addresses, and
// its peak memory when it is told to stop.
const { dataDir, databaseUrl, secret } = JSON.parse(process.argv[2] ?? "{}");
const config = loadConfig({
  flags: { "data-dir": dataDir, "api-port": "0", "worker-port": "0", "log-level": "warn" },
  env: {
    HOME: dataDir,
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl, MUSTER_SECRET: secret }),
  },
  readFile: (path) => readFileSync(path, "utf8"),
});
const server = await startServer(config, { signal: new AbortController().signal });
writeSync(
  3,
  `${JSON.stringify({ apiAddress: server.apiAddress, workerAddress: server.workerAddress, key: server.bootstrapKey })}\n`,
);
process.on("SIGTERM", async () => {
  await server.stop({ graceMs: 500 });
  process.exit(0);
});
