import { parentPort, workerData } from "node:worker_threads";
import { WorkerPeer } from "../support/worker-peer.ts";

// A peer in a thread of its own, for a test whose handler blocks the main one: it counts heartbeats while the
// handler runs, then lets it go by the flag that both share.
if (parentPort !== null && workerData instanceof Int32Array) {
  const channel = parentPort;
  const peer = await WorkerPeer.start();
  peer.behaviour.welcome = { heartbeatInterval: { seconds: 0n, nanos: 20_000_000 } };
  channel.postMessage({ address: peer.address, key: peer.key });
  await peer.until(() => peer.links.length === 1);
  const lease = peer.lease();
  peer.offer(lease);
  await peer.find(({ frame }) => (frame.case === "offerReply" ? true : undefined));
  const from = peer.received.length;
  const isBeat = () => peer.received.slice(from).filter(({ request }) => request.frame.case === "heartbeat");
  await peer.until(() => isBeat().length >= 20);
  Atomics.store(workerData, 0, 1);
  await peer.resultOf(lease.lease.leaseId);
  channel.postMessage({ heartbeatsWhileBlocked: 20 });
}
