import { writeSync } from "node:fs";
import { startEmbeddedPostgres } from "../../server/store/embedded.ts";
import { readPostmaster } from "../../server/store/embedded-process.ts";

/*
 * Owns the Postgres of a run: fsync on, as in production. The runner kills this process and the postmaster with it;
 * the next one finds the same data, and takes the same port.
 */
const { dataDir } = JSON.parse(process.argv[2] ?? "{}");
const server = await startEmbeddedPostgres({
  dataDir,
  settings: { max_connections: "200", log_min_messages: "fatal" },
  signal: AbortSignal.timeout(120_000),
});
const postmaster = await readPostmaster(`${server.dataDir}/postgres`);
writeSync(3, `${JSON.stringify({ url: server.url, port: server.port, pid: postmaster?.pid ?? 0 })}\n`);
process.once("SIGTERM", async () => {
  await server.stop();
  process.exit(0);
});
