import { answerCommands, report } from "./commands.ts";
import { loadPeer } from "./peers/load.ts";
import type { Consumer } from "./peers/peer.ts";
import { Seen } from "./seen.ts";

// Works for a peer, in a process of its own: it is loaded when it reports, and works from `start` on.
const { peer, options } = JSON.parse(process.argv[2] ?? "{}");
const system = await loadPeer(peer);
const seen = new Seen();
let consumer: Consumer | undefined;
answerCommands({
  ...seen.commands(),
  start: async () => {
    consumer = await system.startConsumer(options, seen);
    return undefined;
  },
});
report({ ready: true });
process.on("SIGTERM", async () => {
  await consumer?.close().catch(() => {});
  process.exit(0);
});
