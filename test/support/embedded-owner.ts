import { writeSync } from "node:fs";
import { startEmbeddedPostgres } from "../../server/store/embedded.ts";
import { EmbeddedPostgresError } from "../../server/store/embedded-process.ts";

/*
 * A coordinator that does nothing but own an embedded Postgres: `node embedded-owner.ts <options as JSON>`.
 * One JSON line on descriptor 3 says how the start went; the end of stdin stops the server.
 */
const options: { dataDir: string } = JSON.parse(process.argv[2] ?? "{}");
try {
  const owned = await startEmbeddedPostgres({ ...options, signal: AbortSignal.timeout(30_000) });
  say({ url: owned.url, port: owned.port, adopted: owned.adopted });
  process.stdin.resume();
  process.stdin.once("end", () => void owned.stop());
} catch (error) {
  say({ code: error instanceof EmbeddedPostgresError ? error.code : String(error) });
}

function say(outcome: Record<string, unknown>): void {
  writeSync(3, `${JSON.stringify(outcome)}\n`);
}
