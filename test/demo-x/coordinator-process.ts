import { readFileSync } from "node:fs";
import { startServer } from "@muster/server";
import { loadConfig } from "@muster/server/config";
import { hearParent, tellReady } from "./parent.ts";

/*
 * A coordinator on an embedded database of its own: what the demo starts first. Ends in order at SIGTERM, and when
 * the demo is gone. Its environment is not looked at: a DATABASE_URL there is no business of the demo.
 */
const { settings, gone } = await hearParent();
const readFile = (path: string) => readFileSync(path, "utf8");
const config = loadConfig({ flags: settings, env: {}, readFile });
const stopping = Promise.withResolvers<void>();
process.once("SIGTERM", () => stopping.resolve());
gone.addEventListener("abort", () => stopping.resolve(), { once: true });

const server = await startServer(config, { signal: gone });
const { apiAddress, workerAddress, bootstrapKey } = server;
tellReady({ apiAddress, workerAddress, key: bootstrapKey ?? "" });
const failure = await Promise.race([stopping.promise, server.failed]);
await server.stop({ graceMs: 2_000 });
if (failure !== undefined) throw failure;
process.exit(0);
