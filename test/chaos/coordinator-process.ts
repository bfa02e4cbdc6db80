import { readFileSync, writeSync } from "node:fs";
import { startServer } from "@muster/server";
import { loadConfig } from "@muster/server/config";
import { isConnectionLost } from "../../server/store/connection-errors.ts";
import { notNowCode } from "./child.ts";

/*
 * A coordinator of a run, on the Postgres of the run and with the timers of the run. Ends in order at SIGTERM, and
 * with a code of its own when Postgres is away while it starts.
 */
const { databaseUrl, dataDir, adminKey, timers } = JSON.parse(process.argv[2] ?? "{}");
const config = loadConfig({
  flags: { "api-port": "0", "worker-port": "0", "data-dir": dataDir },
  env: { HOME: dataDir, MUSTER_DATABASE_URL: databaseUrl, MUSTER_ADMIN_KEY: adminKey },
  readFile: (path) => readFileSync(path, "utf8"),
});
const server = await startServer(
  { ...config, ...timers, secret: "a secret of no value" },
  { signal: new AbortController().signal },
).catch((error: unknown) => {
  if (!isConnectionLost(error)) throw error;
  process.stderr.write(`cannot start now: ${error}\n`);
  process.exit(notNowCode);
});
const { apiAddress, workerAddress } = server;
writeSync(3, `${JSON.stringify({ apiAddress, workerAddress })}\n`);
process.once("SIGTERM", async () => {
  await server.stop({ graceMs: 2_000 });
  process.exit(0);
});
const error = await server.failed;
process.stderr.write(`${error.message}\n`);
process.exit(1);
