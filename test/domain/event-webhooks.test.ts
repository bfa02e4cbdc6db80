import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { verifyWebhook } from "@muster/client/webhooks";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createAttentionReader } from "../../server/domain/attention.ts";
import {
  createWebhook,
  deleteWebhook,
  editWebhook,
  getWebhook,
  rotateWebhookSecret,
  type WebhookContext,
} from "../../server/domain/event-webhooks.ts";
import { createKeyContext } from "../../server/domain/keys.ts";
import { AttentionCause } from "../../server/domain/rules/attention.ts";
import { anyEvent } from "../../server/domain/rules/event-filter.ts";
import { listDeliveries, replayDeliveries, testWebhook } from "../../server/domain/webhook-deliveries.ts";
import { createWebhookParts } from "../../server/domain/webhook-parts.ts";
import { WebhookSender } from "../../server/maintain/webhooks.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { dropChanges } from "../../server/store/sweeps.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { feedSettled } from "../support/feed.ts";
import { insertJob } from "../support/rows.ts";

let db: TestDatabase;
let server: Server;
let url: string;
/** What came, in order, and what is answered. */
let received: { readonly id: string; readonly body: string; readonly headers: IncomingHttpHeaders }[];
let answer: (id: string) => number;
const signal = new AbortController().signal;
const hourMs = 3_600_000;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

beforeEach(async () => {
  received = [];
  answer = () => 204;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const id = String(request.headers["webhook-id"]);
      const status = answer(id);
      if (status >= 200 && status < 300)
        received.push({ id, body: Buffer.concat(chunks).toString(), headers: request.headers });
      response
        .writeHead(status, status === 302 ? { location: "http://127.0.0.1:1/" } : {})
        .end("secret body");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** A coordinator's part in webhooks: each has its own sender on the one database. */
function coordinator({
  allow = ["127.0.0.1"],
  pepper = Buffer.alloc(32, 1),
  olderPeppers = [] as Buffer[],
} = {}): WebhookContext {
  const c = testCoordinator(db, { config: { outboundAllow: allow } });
  return createWebhookParts(createKeyContext(c, { pepper, olderPeppers }));
}

/** What operators are shown of webhooks. */
async function attention(orgId: string) {
  const causes = [AttentionCause.webhookFailing];
  const { items } = await createAttentionReader(testCoordinator(db)).listAttention({ orgId }, { causes });
  return items.map(({ target, severity, command }) => [target, severity, command]);
}

async function org() {
  const orgId = await db.orgId();
  const c = coordinator();
  const caller = testCaller(orgId);
  const sender = new WebhookSender(c);
  const made = await createWebhook(
    c,
    caller,
    { name: "hook", url, filter: anyEvent, isDisabled: false },
    signal,
  );
  /** Passes until nothing is due any more. */
  const pass = async (...senders: WebhookSender[]) => {
    await feedSettled(db);
    for (const one of senders.length > 0 ? senders : [sender]) {
      await one.pass(orgId, signal);
      await one.idle();
    }
  };
  const state = async () => {
    const { items } = await listDeliveries(c, caller, {
      name: "hook",
      state: null,
      pageSize: 500,
      pageToken: "",
    });
    return items;
  };
  return { orgId, c, caller, sender, pass, state, secret: made.secret, webhook: made.webhook };
}

/** Transitions as flushes write them. */
async function happen(orgId: string, count = 1, state = 9): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const { jobId } = await insertJob(db, orgId);
    ids.push(jobId);
    await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
      values (${orgId}, 1, ${[jobId]}, ${[state]}, ${[1]}, ${["00000000-0000-0000-0000-000000000000"]})`;
  }
  await feedSettled(db);
  return ids;
}

async function committed(orgId: string): Promise<string[]> {
  const rows = await db.admin<{ xid: string; n: number; jobs: string[] }[]>`
    select xid::text as xid, n, job_ids as jobs from muster.changes where org_id = ${orgId} order by changes.xid, n`;
  return rows.flatMap(({ xid, n, jobs }) => jobs.map((_, element) => `1.${xid}.${n}.${element}`));
}

const ids = () => received.map(({ id }) => id);

describe("a webhook", () => {
  test("is told each event once, signed, with the event's own id", async () => {
    const { orgId, pass, state, secret } = await org();
    const [jobId = ""] = await happen(orgId, 30);
    await pass();
    expect(ids().toSorted()).toEqual((await committed(orgId)).toSorted());
    for (const { headers, body, id } of received) {
      expect(verifyWebhook(secret, { headers, body }, db.nowMs()).id).toBe(id);
      expect(() => verifyWebhook(secret, { headers, body: `${body} ` }, db.nowMs())).toThrow("signature");
      expect(headers["content-type"]).toContain("application/cloudevents+json");
    }
    const first = JSON.parse(received.find(({ id }) => id.endsWith(".0"))?.body ?? "");
    expect(first).toMatchObject({
      specversion: "1.0",
      type: "job.dead",
      data: { state: "DEAD", attempt: 1 },
    });
    expect(jobId).not.toBe("");
    expect(
      (await state()).every((one) => one.state === "sent" && one.status === 204 && one.tries === 1),
    ).toBe(true);
    await pass();
    expect(received.length).toBe(30);
  });

  test("gets one delivery an event from any number of coordinators, and after a restart of each", async () => {
    const { orgId, pass } = await org();
    const senders = [1, 2, 3].map(() => new WebhookSender(coordinator()));
    for (let round = 0; round < 4; round++) {
      await happen(orgId, 7);
      await Promise.all(senders.map((one) => one.pass(orgId, signal)));
    }
    // They are cut off in the middle: what they had taken is taken again when its time is over.
    await Promise.all(senders.map((one) => one.stop()));
    await db.advanceClock(120_000);
    await pass(new WebhookSender(coordinator()));
    await db.advanceClock(120_000);
    await pass(new WebhookSender(coordinator()));
    await db.advanceClock(120_000);
    await pass(new WebhookSender(coordinator()));
    const all = await committed(orgId);
    expect([...new Set(ids())].toSorted()).toEqual(all.toSorted());
    const [rows] =
      await db.admin`select count(*)::int as n, count(distinct event_id)::int as ids from muster.webhook_deliveries
      where org_id = ${orgId} and state = 'sent'`;
    expect(rows).toEqual({ n: all.length, ids: all.length });
  });

  test("that is down for a day loses nothing, though the feed keeps an hour", async () => {
    const { orgId, c, caller, pass } = await org();
    answer = () => 503;
    for (let hour = 0; hour < 24; hour++) {
      await happen(orgId, 2);
      await pass();
      await db.advanceClock(hourMs);
      await runInOrg(c.db.sweepClient, orgId, [
        call(dropChanges, { org: orgId, keep: hourMs, most: 24 * hourMs, limit: 10_000 }),
      ]);
    }
    const down = await getWebhook(c, caller, "hook");
    expect([down.isDisabled, down.lastError, down.pending]).toEqual([false, "it answered 503", 48]);
    expect(await attention(orgId)).toEqual([["webhook:hook", 2, "muster webhook test hook"]]);
    expect(down.failures).toBeGreaterThan(20);
    answer = () => 200;
    // The first that goes through makes the others due at once.
    await pass();
    await pass();
    expect(new Set(ids()).size).toBe(48);
    const back = await getWebhook(c, caller, "hook");
    expect([back.failures, back.failingSince, back.pending]).toEqual([0, null, 0]);
  });

  test("that nobody served for hours is told all of it when a coordinator is back", async () => {
    const { orgId, c, pass } = await org();
    await happen(orgId, 3);
    await db.advanceClock(5 * hourMs);
    await happen(orgId, 2);
    // Retention comes first.
    await runInOrg(c.db.sweepClient, orgId, [
      call(dropChanges, { org: orgId, keep: hourMs, most: 24 * hourMs, limit: 10_000 }),
    ]);
    await pass();
    expect(ids().length).toBe(5);
    expect(received.some(({ body }) => body.includes("feed.reset"))).toBe(false);
    await db.advanceClock(30 * hourMs);
    await happen(orgId, 1);
    await pass();
    expect(ids().length).toBe(6);
  });

  test("whose place in the feed is gone is told that events were missed", async () => {
    const { orgId, pass } = await org();
    await db.admin`update muster.webhooks set cursor_epoch = 0 where org_id = ${orgId}`;
    await pass();
    expect(received.map(({ body }) => JSON.parse(body))).toMatchObject([
      { type: "feed.reset", data: { cause: "other-epoch" } },
    ]);
  });

  test("is turned off after three days of failures, and at once by 410", async () => {
    const { orgId, c, caller, pass, state } = await org();
    answer = () => 500;
    for (let hour = 0; hour < 74; hour += 2) {
      await happen(orgId, 1);
      await pass();
      await db.advanceClock(2 * hourMs);
    }
    const off = await getWebhook(c, caller, "hook");
    expect([off.isDisabled, off.disabledReason]).toEqual([true, "it failed for three days"]);
    expect(await attention(orgId)).toEqual([["webhook:hook", 3, "muster webhook edit hook --on"]]);
    expect((await state()).every((one) => one.state === "failed")).toBe(true);
    await editWebhook(
      c,
      caller,
      { name: "hook", url: undefined, filter: undefined, isDisabled: false, reason: "" },
      signal,
    );
    expect(await attention(orgId)).toEqual([]);
    await happen(orgId, 1);
    await pass();
    const again = await getWebhook(c, caller, "hook");
    expect([again.isDisabled, again.failures]).toEqual([false, 1]);
    answer = () => 410;
    await happen(orgId, 1);
    await pass();
    expect((await getWebhook(c, caller, "hook")).disabledReason).toBe("it answered 410 Gone");
  });

  test("gives a delivery up after about a day, and sends it again by a replay with the same id", async () => {
    const { orgId, c, caller, pass, state } = await org();
    await happen(orgId, 1);
    const [bad = ""] = await committed(orgId);
    answer = (id) => (id === bad ? 400 : 200);
    for (let hour = 0; hour < 28; hour++) {
      await pass();
      await db.advanceClock(1.25 * hourMs);
    }
    const [given] = await state();
    expect([given?.state, given?.error]).toEqual(["failed", "it answered 400"]);
    answer = () => 200;
    const replay = { name: "hook", deliveryId: given?.deliveryId ?? "", revision: "", since: null };
    expect(await replayDeliveries(c, caller, { ...replay, isFailedOnly: false, reason: "fixed" })).toEqual({
      deliveries: 1,
      isMore: false,
    });
    await pass();
    expect(ids()).toEqual([bad]);
    expect((await state())[0]).toMatchObject({ state: "sent", tries: 1 });
  });

  test("replays a range since a revision or a time, with what was never sent while it was off", async () => {
    const { orgId, c, caller, pass } = await org();
    const edit = { name: "hook", url: undefined, filter: undefined, reason: "" };
    await happen(orgId, 3);
    await pass();
    const [, second = ""] = await committed(orgId);
    await editWebhook(c, caller, { ...edit, isDisabled: true }, signal);
    await happen(orgId, 2);
    await editWebhook(c, caller, { ...edit, isDisabled: false }, signal);
    await pass();
    expect(ids().length).toBe(3);
    const replay = { name: "hook", deliveryId: null, revision: second, since: null, reason: "" };
    expect((await replayDeliveries(c, caller, { ...replay, isFailedOnly: false })).deliveries).toBe(1);
    await pass();
    const all = await committed(orgId);
    expect(ids().slice(3).toSorted()).toEqual(all.slice(2).toSorted());
    const since = { ...replay, revision: "", since: new Date(db.nowMs() - 60_000), isFailedOnly: false };
    expect((await replayDeliveries(c, caller, since)).deliveries).toBe(5);
    await pass();
    expect(ids().slice(6).toSorted()).toEqual(all.toSorted());
  });

  test("rotates its secret without loss: both sign while they overlap, then the new one alone", async () => {
    const { orgId, c, caller, pass, secret: old } = await org();
    const rotated = await rotateWebhookSecret(c, caller, { name: "hook", overlapMs: hourMs, reason: "" });
    const { secret: next } = rotated;
    expect(next).not.toBe(old);
    await happen(orgId, 1);
    await pass();
    const [{ headers, body } = { headers: {}, body: "" }] = received;
    for (const secret of [old, next])
      expect(verifyWebhook(secret, { headers, body }, db.nowMs()).id).not.toBe("");
    await db.advanceClock(hourMs + 1);
    await happen(orgId, 1);
    await pass();
    const last = received.at(-1) ?? { headers: {}, body: "" };
    expect(() => verifyWebhook(old, last, db.nowMs())).toThrow("signature");
    expect(verifyWebhook(next, last, db.nowMs()).id).not.toBe("");
  });

  test("signs with the coordinator's older secret until that is dropped, and then says what to do", async () => {
    const { orgId, secret, c: _, caller } = await org();
    const kept = coordinator({ pepper: Buffer.alloc(32, 2), olderPeppers: [Buffer.alloc(32, 1)] });
    await happen(orgId, 1);
    const sender = new WebhookSender(kept);
    await sender.pass(orgId, signal);
    await sender.idle();
    const [{ headers, body } = { headers: {}, body: "" }] = received;
    expect(verifyWebhook(secret, { headers, body }, db.nowMs()).id).not.toBe("");
    const dropped = coordinator({ pepper: Buffer.alloc(32, 2) });
    expect(await testWebhook(dropped, caller, "hook", signal)).toMatchObject({
      error: "the coordinator has no secret for it: rotate it",
    });
  });

  test("refuses private addresses at the door, and at each call; follows no redirect; keeps no answer", async () => {
    const { orgId, caller, pass, state } = await org();
    const strict = coordinator({ allow: [] });
    const asked = { name: "inner", filter: anyEvent, isDisabled: false };
    for (const inner of [url, "https://169.254.169.254/x", "https://[::1]/", "nonsense"]) {
      await expect(createWebhook(strict, caller, { ...asked, url: inner }, signal)).rejects.toMatchObject({
        reason: "VALIDATION_FAILED",
        violations: [{ field: "webhook.url", reason: "WEBHOOK_BLOCKED" }],
      });
    }
    await happen(orgId, 1);
    const sender = new WebhookSender(strict);
    await sender.pass(orgId, signal);
    await sender.idle();
    expect(received).toEqual([]);
    expect((await state())[0]?.error).toContain("not public");
    answer = () => 302;
    await db.advanceClock(60_000);
    await pass();
    expect((await state())[0]).toMatchObject({ status: 302, error: "it answered 302", state: "pending" });
    expect(JSON.stringify(await state())).not.toContain("secret body");
  });

  test("is one of a name, is sent a test also where it is off, and goes with its deliveries", async () => {
    const { orgId, c, caller, pass } = await org();
    const again = { name: "hook", url, filter: anyEvent, isDisabled: false };
    await expect(createWebhook(c, caller, again, signal)).rejects.toMatchObject({ reason: "WEBHOOK_EXISTS" });
    const edit = { name: "hook", url: undefined, filter: undefined, isDisabled: true, reason: "" };
    await happen(orgId, 1);
    await pass();
    await editWebhook(c, caller, edit, signal);
    expect(await testWebhook(c, caller, "hook", signal)).toMatchObject({ status: 204, error: "" });
    expect(JSON.parse(received.at(-1)?.body ?? "")).toMatchObject({ type: "webhook.test" });
    await deleteWebhook(c, caller, { name: "hook", reason: "" });
    await expect(getWebhook(c, caller, "hook")).rejects.toMatchObject({ reason: "WEBHOOK_NOT_FOUND" });
    expect(await db.admin`select 1 from muster.webhook_deliveries where org_id = ${orgId}`).toHaveLength(0);
  });

  test("has a bound of deliveries that wait: the feed waits with the rest", async () => {
    const { orgId, c, caller, pass } = await org();
    answer = () => 500;
    await happen(orgId, 1);
    await pass();
    await db.admin`insert into muster.webhook_deliveries (org_id, delivery_id, webhook_id, event_id, type, body, due_at)
      select org_id, gen_random_uuid(), webhook_id, 'x' || n, 't', '{}', muster.muster_clock() + interval '1 hour'
      from muster.webhooks, generate_series(1, 20000) n where org_id = ${orgId}`;
    await happen(orgId, 3);
    await pass();
    expect((await getWebhook(c, caller, "hook")).pending).toBe(20_000);
    await db.admin`delete from muster.webhook_deliveries where org_id = ${orgId} and event_id like 'x%'`;
    answer = () => 200;
    await db.advanceClock(60_000);
    await pass();
    await pass();
    expect(ids().length).toBe(4);
  });
});
