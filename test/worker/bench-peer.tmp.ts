import { WorkerPeer } from "../support/worker-peer.ts";

const [jobs, links, slots] = process.argv.slice(2).map(Number);
const peer = await WorkerPeer.start();
console.log(JSON.stringify({ address: peer.address, key: peer.key }));
await peer.until(() => peer.links.length === links);
let frames = 0;
const kinds: Record<string, number> = {};
let left = jobs!,
  done = 0;
const t0 = performance.now();
const payload = {
  content: { case: "data" as const, value: Buffer.from(JSON.stringify({ x: "y".repeat(90) })) },
};
peer.onResults = (link, results) => {
  done += results.length;
  frames += peer.received.length;
  for (const f of peer.received) kinds[f.request.frame.case!] = (kinds[f.request.frame.case!] ?? 0) + 1;
  peer.results.clear();
  peer.received.length = 0;
  const n = Math.min(left, results.length);
  left -= n;
  if (n > 0)
    peer.offerOn(
      link,
      Array.from({ length: n }, () => peer.lease({ payload })),
    );
  if (done === jobs) {
    const s = (performance.now() - t0) / 1000;
    const u = process.cpuUsage();
    console.log(
      JSON.stringify({
        jobs,
        seconds: s,
        rate: Math.round(jobs! / s),
        frames,
        kinds,
        peerCpu: (u.user + u.system) / 1e6,
      }),
    );
  }
};
for (const link of peer.links) {
  const n = Math.min(left, slots!);
  left -= n;
  peer.offerOn(
    link,
    Array.from({ length: n }, () => peer.lease({ payload })),
  );
}
