import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ServerReflection } from "@muster/client/grpc/reflection";
import { createMusterClient } from "@muster/client/node";
import { KeyService } from "@muster/client/v1/key_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { loadConfig } from "../../../server/config.ts";
import { startServer } from "../../../server/server.ts";
import { fuzz } from "./run.ts";

/*
 * `npm run fuzz -- --requests N --seed X --json`: a coordinator on an embedded Postgres, and requests made from the
 * descriptors of all its services. The last line is one JSON object; the exit code is 1 when a request ended in
 * INTERNAL, UNKNOWN or UNAVAILABLE, a connection broke, or something was thrown that nobody caught.
 */

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "20000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});
const crashes: string[] = [];
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error: unknown) => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`${event}: ${text}\n`);
    crashes.push(text);
  });
}
const folder = mkdtempSync(join(tmpdir(), "muster-fuzz-"));
chmodSync(folder, 0o755);
const config = loadConfig({
  flags: { "data-dir": join(folder, "data"), "api-port": "0", "worker-port": "0" },
  env: { HOME: folder },
  readFile: () => "",
});
const causes = new Map<string, number>();
const failed = (fields: object, message: string): void => {
  const error: unknown = Reflect.get(fields, "err");
  const text =
    error instanceof Error ? (error.stack ?? "").split("\n").slice(0, 6).join("\n") : String(error);
  const cause = `${message} ${Reflect.get(fields, "method") ?? ""}: ${text}`;
  causes.set(cause, (causes.get(cause) ?? 0) + 1);
};
const log = { debug: () => {}, info: () => {}, warn: failed, error: failed };
const server = await startServer(config, { logger: log, signal: new AbortController().signal });
const adminKey = server.bootstrapKey ?? "";
const own = { address: server.apiAddress, key: adminKey };
const { key } = await createMusterClient(KeyService, own).whoAmI({});
const workers = createMusterClient(WorkerAdminService, own);
let made = 0;
// What came of it so far counts too, and an embedded Postgres outlives whoever does not stop it.
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
const startedMs = performance.now();
const report = await fuzz({
  apiAddress: server.apiAddress,
  workerAddress: `http://${server.workerAddress}`,
  adminKey,
  spared: [key?.keyId ?? ""],
  workerKey: async () => (await workers.createWorker({ name: `fuzz-${made++}` })).key,
  requests: Number(values.requests),
  seed: values.seed,
  reflection: ServerReflection,
  signal: stopping.signal,
  progress: (done) => process.stderr.write(`${done} requests\n`),
}).catch((error: unknown) => {
  process.stderr.write(`the fuzzer itself failed: ${error instanceof Error ? error.stack : error}\n`);
  process.exit(2);
});
const seconds = (performance.now() - startedMs) / 1_000;
await server.stop({ graceMs: 1_000 });
rmSync(folder, { recursive: true, force: true });
const isRight = report.failed === 0 && crashes.length === 0;
if (!values.json) {
  for (const [cause, times] of causes) process.stderr.write(`${times} × ${cause}\n`);
  for (const failure of report.failures.slice(0, 20)) process.stderr.write(`${JSON.stringify(failure)}\n`);
}
const perSecond = Math.round(report.requests / seconds);
process.stdout.write(
  `${JSON.stringify({ isRight, perSecond, rssBytes: process.memoryUsage.rss(), crashes, ...report })}\n`,
);
process.exit(isRight ? 0 : 1);
