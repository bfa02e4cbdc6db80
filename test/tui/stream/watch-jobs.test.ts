import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { JobService } from "@muster/client/v1/job_service";
import { WatchService } from "@muster/client/v1/watch_service";
import { expect, test } from "vitest";
import { watchJobs } from "../../../tui/stream/watch-jobs.ts";

/** A coordinator whose streams say nothing, or are not known, and whose unary calls answer. */
function silent(streams: "silent" | "unknown") {
  const asked: string[] = [];
  const events = [
    { jobs: [{ jobId: "job_2" }], leftJobIds: ["job_1"], revision: "1.2.0" },
    { reset: true, revision: "1.3.0" },
  ];
  const transport = createRouterTransport(({ service }) => {
    service(JobService, {
      listJobs: ({ filterText }) => {
        asked.push(`list ${filterText}`);
        return { jobs: [{ jobId: "job_1" }], revision: "1.1.0" };
      },
    });
    service(WatchService, {
      async *watchJobs(_request, { signal }) {
        if (streams === "unknown") throw new ConnectError("no such method", Code.Unimplemented);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
      listEvents: ({ sinceRevision, filter }) => {
        asked.push(`events ${sinceRevision} ${filter}`);
        const next = events.shift();
        if (next === undefined) throw new ConnectError("gone for a while", Code.Unavailable);
        return next;
      },
    });
  });
  const clients = { jobs: createClient(JobService, transport), watch: createClient(WatchService, transport) };
  return { clients, asked };
}

test.each(["silent", "unknown"] as const)(
  "asks again and again where streams are %s, and says so",
  async (streams) => {
    const { clients, asked } = silent(streams);
    const stop = new AbortController();
    const said: string[] = [];
    const came: (string | undefined)[] = [];
    const watching = watchJobs(clients, {
      filterText: "kind:a",
      pageSize: 10,
      firstMs: 50,
      signal: stop.signal,
      onPolling: (why) => said.push(why),
      wait: async () => stop.abort(),
    });
    for await (const { body } of watching) came.push(body.case);
    expect(said).toEqual([
      streams === "silent" ? "nothing came for 0.05 s" : expect.stringContaining("does not know"),
    ]);
    const snapshot = ["snapshotBegin", "rows", "snapshotEnd"];
    expect(came).toEqual([...snapshot, "delta", "reset", ...snapshot]);
    expect(asked).toEqual([
      "list kind:a",
      "events 1.1.0 kind:a",
      "events 1.2.0 kind:a",
      "list kind:a",
      "events 1.1.0 kind:a",
    ]);
  },
);
