import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { verifyWebhook } from "@muster/client/webhooks";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { putAlertChannel, setAlertChannelEnabled } from "../../server/domain/alert-channels.ts";
import { deliverAlerts } from "../../server/domain/alert-deliveries.ts";
import { evaluateAlerts } from "../../server/domain/alert-evaluation.ts";
import { createAlertParts } from "../../server/domain/alert-parts.ts";
import { putAlertRule, setAlertRuleEnabled } from "../../server/domain/alert-rules.ts";
import { silenceAlerts, unsilenceAlerts } from "../../server/domain/alert-silences.ts";
import { type AlertView, listAlerts } from "../../server/domain/alerts.ts";
import { createAttentionReader } from "../../server/domain/attention.ts";
import { cancelJob } from "../../server/domain/jobs.ts";
import {
  type AlertRuleDefinition,
  conditionFacts,
  ruleDefaults,
} from "../../server/domain/rules/alert-rules.ts";
import type { AlertMessage } from "../../server/domain/rules/alert-texts.ts";
import { AttentionCause } from "../../server/domain/rules/attention.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { claimDeliveries } from "../../server/store/alert-work.ts";
import { inOrg } from "../../server/store/database.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { dropChanges } from "../../server/store/sweeps.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

const signal = new AbortController().signal;
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
let db: TestDatabase;
let c: TestCoordinator & ReturnType<typeof createAlertParts>;
let server: Server;
let status = 200;
const posted: { readonly id: string; readonly event: string; readonly message: AlertMessage }[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  const coordinator = testCoordinator(db, { config: { outboundAllow: ["127.0.0.1"] } });
  c = { ...coordinator, ...createAlertParts(coordinator, ["secret"]) };
});
afterAll(() => db.close());

beforeEach(async () => {
  posted.length = 0;
  status = 200;
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    const headers = Object.fromEntries(Object.entries(request.headers).map(([k, v]) => [k, String(v)]));
    const { id } = verifyWebhook(secret, { headers, body }, db.nowMs());
    const { type, timestamp, data } = JSON.parse(body);
    const event = String(type).replace("alert.", "");
    posted.push({ id, event, message: { ...data, event, time: timestamp } });
    response.writeHead(status).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function orgWith(rule: Partial<AlertRuleDefinition>): Promise<string> {
  const orgId = await db.orgId();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const target = { type: "webhook", url, secret, previousSecret: "" } as const;
  const channel = { name: "hook", target, isDisabled: false };
  await putAlertChannel(c, testCaller(orgId), { channel, reason: "", isDryRun: false, signal });
  await put(orgId, rule);
  return orgId;
}

function put(orgId: string, rule: Partial<AlertRuleDefinition>): Promise<unknown> {
  const { condition = "job-dead" } = rule;
  const definition: AlertRuleDefinition = {
    ...ruleDefaults,
    condition,
    threshold: conditionFacts[condition].threshold,
    filter: { queue: "", kind: "", project: "" },
    channels: ["hook"],
    groupBy: "natural",
    resolveMessage: true,
    severity: "warning",
    note: "see the runbook",
    ...rule,
  };
  const given = { name: "rule", definition, isDisabled: false };
  return putAlertRule(c, testCaller(orgId), { rule: given, reason: "", isDryRun: false });
}

async function end(orgId: string, state: JobState, kind = "render.frame"): Promise<string> {
  const { jobId } = await insertJob(db, orgId, { kind, state });
  const isDead = state === JobState.dead;
  await insertAttempt(db, orgId, jobId, {
    outcome: isDead ? Outcome.failed : Outcome.succeeded,
    state,
    ...(isDead ? { error: { code: "EXIT", message: "exit code 1" } } : {}),
  });
  await db.admin`insert into muster.changes (org_id, n, job_ids, states, attempts, worker_ids)
    values (${orgId}, 0, ${[jobId]}::uuid[], ${[state]}::smallint[], '{1}', ${[jobId]}::uuid[])`;
  return jobId;
}

// The feed is read below the oldest transaction that still runs, of all databases of the server.
async function settled(): Promise<void> {
  for (;;) {
    const [row] = await db.admin`select
      coalesce((select max(xid::text::bigint) from muster.changes), 0)
        < pg_snapshot_xmin(pg_current_snapshot())::text::bigint as is_settled`;
    if (row?.["is_settled"]) return;
  }
}

/** Looks at the rules, whenever they are due, and sends what is due. */
async function pass(orgId: string, coordinators = 1): Promise<void> {
  await settled();
  await db.admin`update muster.alert_rules set due_at = muster.muster_clock() where org_id = ${orgId}`;
  await Promise.all(
    Array.from({ length: coordinators }, async () => {
      await evaluateAlerts(c, orgId, signal);
      await deliverAlerts(c, orgId, signal);
    }),
  );
}

async function history(orgId: string): Promise<readonly AlertView[]> {
  const page = { rule: "", isFiring: false, pageSize: 0, pageToken: "" };
  return (await listAlerts(c, testCaller(orgId), page)).items;
}

const events = () => posted.map(({ event, message }) => [event, message.alerts.map(({ group }) => group)]);

describe("a rule on dead jobs", () => {
  test("tells once of each, with why, and when it is over", async () => {
    const orgId = await orgWith({ throttleMs: 0 });
    await end(orgId, JobState.succeeded);
    await pass(orgId);
    expect(posted).toEqual([]);
    const jobId = await end(orgId, JobState.dead);
    await pass(orgId);
    await pass(orgId);
    expect(events()).toEqual([["firing", [""]]]);
    expect(posted[0]?.message).toMatchObject({
      rule: "rule",
      note: "see the runbook",
      alerts: [{ summary: "A job is dead; the last: render.frame: EXIT: exit code 1", occurrences: 1 }],
    });
    await end(orgId, JobState.dead);
    await pass(orgId);
    expect(posted).toHaveLength(2);
    expect(posted[1]?.message.alerts[0]).toMatchObject({ occurrences: 2, value: 2 });
    await db.advanceClock(ruleDefaults.windowMs + 30_000);
    await pass(orgId);
    expect(events().at(-1)).toEqual(["resolved", [""]]);
    const [alert] = await history(orgId);
    expect(alert).toMatchObject({ rule: "rule", occurrences: 2, endedAt: expect.any(Date) });
    expect(alert?.jobIds).toContain(jobId);
    expect(alert?.deliveries.map(({ event, state }) => [event, state])).toEqual([
      ["firing", "sent"],
      ["firing", "sent"],
      ["resolved", "sent"],
    ]);
  });

  test("counts what happens within the throttle, and tells it with the next message", async () => {
    const orgId = await orgWith({ throttleMs: 120_000 });
    for (let n = 0; n < 3; n++) {
      await end(orgId, JobState.dead);
      await pass(orgId);
    }
    expect(posted).toHaveLength(1);
    await db.advanceClock(121_000);
    await pass(orgId);
    expect(posted).toHaveLength(2);
    expect(posted[1]?.message.alerts[0]).toMatchObject({ occurrences: 3 });
  });

  test("groups by kind: what begins together is one message, and filters hold", async () => {
    const orgId = await orgWith({ groupBy: "kind", filter: { queue: "", kind: "render.*", project: "" } });
    await end(orgId, JobState.dead, "render.frame");
    await end(orgId, JobState.dead, "render.movie");
    await end(orgId, JobState.dead, "mail.send");
    await pass(orgId);
    expect(events()).toEqual([["firing", ["render.frame", "render.movie"]]]);
  });

  test("says nothing under a silence, and what was not told when it ends", async () => {
    const orgId = await orgWith({});
    const silence = { rule: "rule", groupKey: "" };
    await silenceAlerts(c, testCaller(orgId), { ...silence, durationMs: 3_600_000, reason: "" });
    await end(orgId, JobState.dead);
    await pass(orgId);
    expect(posted).toEqual([]);
    expect(await history(orgId)).toMatchObject([{ isSilenced: true, notifiedAt: null, endedAt: null }]);
    await unsilenceAlerts(c, testCaller(orgId), { ...silence, reason: "" });
    await pass(orgId);
    expect(events()).toEqual([["firing", [""]]]);
  });

  test("is one message though several coordinators look and send at the same time", async () => {
    const orgId = await orgWith({ throttleMs: 0 });
    for (let n = 1; n <= 5; n++) {
      await end(orgId, JobState.dead);
      await pass(orgId, 4);
      expect(posted).toHaveLength(n);
    }
    expect(new Set(posted.map(({ id }) => id)).size).toBe(5);
  });
});

describe("a rule that nobody looked at for hours", () => {
  const hourMs = 3_600_000;
  const drop = (orgId: string) =>
    runInOrg(c.db.sweepClient, orgId, [
      call(dropChanges, { org: orgId, keep: hourMs, most: 24 * hourMs, limit: 10_000 }),
    ]);
  const counted = async (orgId: string) =>
    (await history(orgId)).reduce((sum, { occurrences }) => sum + occurrences, 0);

  test("counts what ended before and since, though retention comes first", async () => {
    const orgId = await orgWith({ condition: "job-dead" });
    await pass(orgId);
    await end(orgId, JobState.dead);
    await end(orgId, JobState.dead);
    await db.advanceClock(5 * hourMs);
    await end(orgId, JobState.dead);
    await drop(orgId);
    await pass(orgId);
    expect(await counted(orgId)).toBe(3);
  });

  test("goes on with the oldest that is kept", async () => {
    const orgId = await orgWith({ condition: "job-dead" });
    await pass(orgId);
    await end(orgId, JobState.succeeded);
    await end(orgId, JobState.succeeded);
    await db.advanceClock(30 * hourMs);
    await drop(orgId);
    await end(orgId, JobState.dead);
    await pass(orgId);
    expect(await counted(orgId)).toBe(1);
  });

  test("holds nothing in the feed that does not count runs, or is disabled", async () => {
    const orgId = await orgWith({ condition: "queue-depth" });
    const rows = async () =>
      (await db.admin`select count(*)::int as n from muster.changes where org_id = ${orgId}`)[0]?.["n"];
    for (let n = 0; n < 3; n++) await end(orgId, JobState.succeeded);
    await db.advanceClock(2 * hourMs);
    await drop(orgId);
    expect(await rows()).toBe(1);
    await put(orgId, { condition: "job-dead" });
    await setAlertRuleEnabled(c, testCaller(orgId), { name: "rule", isEnabled: false, reason: "" });
    for (let n = 0; n < 3; n++) await end(orgId, JobState.succeeded);
    await db.advanceClock(2 * hourMs);
    await drop(orgId);
    expect(await rows()).toBe(1);
  });
});

test("a rule on the share of failures waits for enough runs", async () => {
  const orgId = await orgWith({ condition: "failure-rate", threshold: 50, least: 4 });
  await end(orgId, JobState.dead);
  await end(orgId, JobState.dead);
  await pass(orgId);
  expect(posted).toEqual([]);
  await end(orgId, JobState.succeeded);
  await end(orgId, JobState.succeeded);
  await pass(orgId);
  expect(posted[0]?.message.alerts).toMatchObject([{ value: 50 }]);
});

test("a rule on failures in a row begins anew with a success", async () => {
  const orgId = await orgWith({ condition: "consecutive-failures", threshold: 3 });
  for (const state of [JobState.dead, JobState.dead, JobState.succeeded, JobState.dead, JobState.dead]) {
    await end(orgId, state);
  }
  await pass(orgId);
  expect(posted).toEqual([]);
  await end(orgId, JobState.dead);
  await pass(orgId);
  expect(posted[0]?.message.alerts).toMatchObject([{ value: 3 }]);
  await end(orgId, JobState.succeeded);
  await pass(orgId);
  expect(events().at(-1)).toEqual(["resolved", [""]]);
});

test("rules on queues look at depth and age", async () => {
  const orgId = await orgWith({ condition: "queue-depth", threshold: 3 });
  await db.admin`insert into muster.tallies (org_id, tally_id, queue, submitted, succeeded, cancelled, dead, ready)
    values (${orgId}, ${db.newId()}, 'renders', 3, 0, 0, 0, 3), (${orgId}, ${db.newId()}, 'mails', 2, 0, 0, 0, 2)`;
  await pass(orgId);
  expect(events()).toEqual([["firing", ["renders"]]]);
  await db.admin`insert into muster.tallies (org_id, tally_id, queue, submitted, succeeded, cancelled, dead, ready)
    values (${orgId}, ${db.newId()}, 'renders', 0, 0, 0, 0, -1)`;
  await pass(orgId);
  expect(events().at(-1)).toEqual(["resolved", ["renders"]]);
});

test("S43 an act by force is told", async () => {
  const orgId = await orgWith({ condition: "forced-act" });
  const { jobId } = await insertJob(db, orgId);
  await cancelJob(c, testCaller(orgId), { jobId, reason: "it hangs", isForced: true });
  await pass(orgId);
  expect(posted[0]?.message.alerts[0]?.summary).toMatch(/^key:test did job.cancel to job_\w+: it hangs$/);
});

describe("a channel", () => {
  test("that is down for a day gets everything once when it is back, and is told of meanwhile", async () => {
    const orgId = await orgWith({ throttleMs: 0 });
    const attention = async () => {
      const { items } = await createAttentionReader(c).listAttention(
        { orgId },
        { causes: [AttentionCause.channelFailing] },
      );
      return items.map(({ target }) => target);
    };
    status = 503;
    let tries = 0;
    for (let hour = 0; hour < 24; hour++) {
      if (hour < 3) await end(orgId, JobState.dead);
      await pass(orgId);
      tries = posted.length;
      await db.advanceClock(3_600_000);
    }
    expect(tries).toBeGreaterThan(20);
    expect(await attention()).toEqual(["channel:hook"]);
    const ids = new Set(posted.map(({ id }) => id));
    posted.length = 0;
    status = 200;
    await pass(orgId);
    // Each of the three, and that it is over.
    expect(events().map(([event]) => event)).toEqual(["firing", "firing", "firing", "resolved"]);
    expect(new Set(posted.map(({ id }) => id)).size).toBe(4);
    expect([...ids].every((id) => posted.some((one) => one.id === id))).toBe(true);
    expect(await attention()).toEqual([]);
    await pass(orgId);
    expect(posted).toHaveLength(4);
    // Other services hear once of the alert and once of its end, however many messages there were.
    const happened =
      await db.admin`select type, data ->> 'group' as about, data ->> 'alertId' as id from muster.events
      where org_id = ${orgId} order by xid, event_id`;
    expect(happened.map(({ type }) => type)).toEqual(["alert.fired", "alert.resolved"]);
    expect(new Set(happened.map(({ id, about }) => `${id} ${about}`)).size).toBe(1);
  }, 60_000);

  test("gets a message again, with the same id, when who was sending it died", async () => {
    const orgId = await orgWith({});
    await end(orgId, JobState.dead);
    await settled();
    await evaluateAlerts(c, orgId, signal);
    const claimed = await inOrg(db.database.sweep, orgId, (tx) =>
      claimDeliveries(tx, orgId, { limit: 5, leaseMs: 60_000 }),
    );
    expect(claimed).toHaveLength(1);
    await deliverAlerts(c, orgId, signal);
    expect(posted).toEqual([]);
    await db.advanceClock(61_000);
    await deliverAlerts(c, orgId, signal);
    const [alert] = await history(orgId);
    expect(posted).toHaveLength(1);
    expect(alert?.deliveries).toMatchObject([{ state: "sent", tries: 2 }]);
  });

  test("that is disabled gets what waited when it is enabled", async () => {
    const orgId = await orgWith({});
    const of = { name: "hook", reason: "" };
    await setAlertChannelEnabled(c, testCaller(orgId), { ...of, isEnabled: false });
    await end(orgId, JobState.dead);
    await pass(orgId);
    expect(posted).toEqual([]);
    await setAlertChannelEnabled(c, testCaller(orgId), { ...of, isEnabled: true });
    await pass(orgId);
    expect(posted).toHaveLength(1);
  });

  test("that refuses a message for good is not asked again", async () => {
    const orgId = await orgWith({});
    status = 400;
    await end(orgId, JobState.dead);
    await pass(orgId);
    await db.advanceClock(60_000);
    await pass(orgId);
    expect(posted).toHaveLength(1);
    expect((await history(orgId))[0]?.deliveries).toMatchObject([
      { state: "failed", lastError: "it answered with HTTP 400" },
    ]);
  });
});
