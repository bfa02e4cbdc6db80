import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type PostgresFault, startPostgresProxy } from "../../chaos/proxy/postgres-proxy.ts";
import { seededRandom } from "../../chaos/random.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, databaseTarget, openJournal, scaledTimers, through } from "./story.ts";

const slots = 2;
const jobCount = 40;

let muster: TestServer;
let database: FaultProxy<PostgresFault>;

beforeEach(async () => {
  muster = await startTestServer(scaledTimers);
  const random = seededRandom("capacity");
  database = await startPostgresProxy({ target: databaseTarget(muster), random });
  // Whenever a grant is written, the database itself counts what its worker holds.
  await muster.database.admin.unsafe(`
    create table public.exceeded (worker_id uuid, held int);
    create function public.count_held() returns trigger language plpgsql security definer as $$ begin
      insert into public.exceeded select worker_id, count(*) from muster.job_queue
        where worker_id is not null group by worker_id having count(*) > ${slots};
      return null;
    end $$;
    create trigger count_held after update on muster.job_queue execute function public.count_held()`);
});

afterEach(async () => {
  await muster.close();
  await database.close();
});

test("a worker never holds more than it has slots, whatever the answers to commits are", async () => {
  const peer = await muster.startPeer({ databaseUrl: through(database, muster) });
  const journal = openJournal();
  const handlers = { quick: journal.quick("only") };
  await muster.startWorker({ address: peer.workerAddress, transport: "stream", slots, handlers });
  const batches = createMusterClient(BatchService, { address: muster.server.apiAddress, key: muster.key });
  database.fault({ kind: "swallow-commit", leaving: "reset", user: "muster_hot", chance: 0.2, limit: 20 });
  await batches.submitBatch({ jobs: Array.from({ length: jobCount }, () => ({ kind: "quick" })) });
  const succeeded = async () => (await attemptRows(muster)).filter(({ outcome }) => outcome === 1).length;
  await expect.poll(succeeded, { timeout: 40_000, interval: 50 }).toBe(jobCount);
  expect(database.counts()["swallow-commit"]).toBeGreaterThan(3);
  expect(await muster.database.admin`select * from public.exceeded`).toEqual([]);
}, 60_000);
