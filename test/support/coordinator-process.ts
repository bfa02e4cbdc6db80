import { writeSync } from "node:fs";
import { startServer } from "@muster/server";
import { loadConfig } from "@muster/server/config";

// A coordinator in a process of its own, for tests that kill it. Reports its addresses, and the key that it made, on
// descriptor 3.
const { flags, databaseUrl, secret } = JSON.parse(process.argv[2] ?? "{}");
const config = loadConfig({
  flags: { "api-port": "0", "worker-port": "0", "log-level": "error", ...flags },
  env: { HOME: flags["data-dir"], MUSTER_DATABASE_URL: databaseUrl },
  readFile: (path) => {
    throw new Error(`a test reads no ${path}`);
  },
});
const { apiAddress, workerAddress, bootstrapKey } = await startServer(
  { ...config, secret },
  { signal: new AbortController().signal },
);
writeSync(3, `${JSON.stringify({ apiAddress, workerAddress, bootstrapKey })}\n`);
