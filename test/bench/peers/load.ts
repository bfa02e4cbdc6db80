import type { Peer, PeerOptions, Producer } from "./peer.ts";

/** Loads what submits to a system; no process loads more than the one that it measures. */
export async function openProducer(peer: string, options: PeerOptions): Promise<Producer> {
  if (peer === "muster") return (await import("./muster.ts")).muster.openProducer(options);
  return (await loadPeer(peer)).openProducer(options);
}

/** Loads a system that other people made. */
export async function loadPeer(peer: string): Promise<Peer> {
  switch (peer) {
    case "graphile-worker":
      return (await import("./graphile-worker.ts")).graphileWorker;
    case "pg-boss":
      return (await import("./pg-boss.ts")).pgBoss;
    case "bullmq":
      return (await import("./bullmq.ts")).bullmq;
    default:
      throw new Error(`there is no peer ${peer}`);
  }
}
