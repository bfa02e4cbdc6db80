import { readFileSync } from "node:fs";
import { startServer } from "@muster/server";
import { loadConfig } from "@muster/server/config";
import { answerCommands, report } from "./commands.ts";

// A coordinator on an embedded, durable Postgres, or on one that is given. Reports its addresses; `collect` answers
// with its memory after its garbage is gone, when it was started with --expose-gc.
const { dataDir, databaseUrl, secret, flags } = JSON.parse(process.argv[2] ?? "{}");
const config = loadConfig({
  flags: { "data-dir": dataDir, "api-port": "0", "worker-port": "0", "log-level": "warn", ...flags },
  env: {
    HOME: dataDir,
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl, MUSTER_SECRET: secret }),
  },
  readFile: (path) => readFileSync(path, "utf8"),
});
const server = await startServer(config, { signal: new AbortController().signal });
answerCommands({
  collect: () => {
    globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    return { rssBytes: rss, heapBytes: heapUsed };
  },
});
report({ apiAddress: server.apiAddress, workerAddress: server.workerAddress, key: server.bootstrapKey });
process.on("SIGTERM", async () => {
  await server.stop({ graceMs: 500 });
  process.exit(0);
});
