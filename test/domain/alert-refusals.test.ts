import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { getAlertChannel, putAlertChannel } from "../../server/domain/alert-channels.ts";
import { deliverAlerts } from "../../server/domain/alert-deliveries.ts";
import { createAlertParts } from "../../server/domain/alert-parts.ts";
import { testAlertChannel } from "../../server/domain/alert-tests.ts";
import { createAttentionReader } from "../../server/domain/attention.ts";
import type { AlertTarget } from "../../server/domain/rules/alert-channels.ts";
import { AttentionCause } from "../../server/domain/rules/attention.ts";
import { createMailer } from "../../server/outbound/mail.ts";
import { insertDeliveries } from "../../server/store/alert-work.ts";
import { inOrg } from "../../server/store/database.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { startSmtpServer } from "../support/smtp.ts";

const signal = new AbortController().signal;
let db: TestDatabase;
let c: TestCoordinator & ReturnType<typeof createAlertParts>;
let server: Server;
let url: string;
/** What is answered to a note. */
let answers: (note: string) => number;
const notes: string[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  const coordinator = testCoordinator(db, { config: { outboundAllow: ["127.0.0.1"] } });
  c = { ...coordinator, ...createAlertParts(coordinator, ["secret"]) };
});
afterAll(() => db.close());

beforeEach(async () => {
  notes.length = 0;
  answers = () => 200;
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { note } = JSON.parse(Buffer.concat(chunks).toString()).data;
    notes.push(note);
    response.writeHead(answers(note)).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function orgWith(given?: AlertTarget): Promise<string> {
  const orgId = await db.orgId();
  const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
  const target = given ?? ({ type: "webhook", url, secret, previousSecret: "" } as const);
  const channel = { name: "ops", target, isDisabled: false };
  await putAlertChannel(c, testCaller(orgId), { channel, reason: "", isDryRun: false, signal });
  return orgId;
}

/** Puts messages into the outbox, and sends what is due. */
async function send(orgId: string, ...texts: string[]): Promise<void> {
  for (const note of texts) {
    const message = {
      ...{ event: "firing", org: "org_1", rule: "rule", condition: "job-dead", severity: "warning", note },
      ...{ time: new Date(db.nowMs()).toISOString(), alerts: [], others: 0 },
    };
    await inOrg(db.database.sweep, orgId, (tx) =>
      insertDeliveries(tx, orgId, {
        ...{ channels: ["ops"], alertIds: [], event: "firing" as const, message, newId: () => db.newId() },
      }),
    );
  }
  await deliverAlerts(c, orgId, signal);
}

const channelOf = (orgId: string) => getAlertChannel(c, testCaller(orgId), "ops");

async function attentionOf(orgId: string): Promise<readonly string[]> {
  const causes = [AttentionCause.channelFailing];
  const { items } = await createAttentionReader(c).listAttention({ orgId }, { causes });
  return items.map(({ summary }) => summary);
}

describe("a channel that refuses a message for good", () => {
  test.each([400, 413])(
    "by HTTP %i fails until one gets through, and that one is not sent again",
    async (status) => {
      const orgId = await orgWith();
      answers = () => status;
      await send(orgId, "first");
      const since = new Date(db.nowMs());
      const lastError = `it answered with HTTP ${status}`;
      expect(await channelOf(orgId)).toMatchObject({ lastError, failingSince: expect.any(Date), pending: 0 });
      expect(await attentionOf(orgId)).toEqual([`Channel ops (webhook) takes no messages: ${lastError}`]);
      await db.advanceClock(3_600_000);
      await send(orgId, "second");
      expect(notes).toEqual(["first", "second"]);
      const { failingSince } = await channelOf(orgId);
      expect(failingSince?.getTime()).toBeLessThanOrEqual(since.getTime());
      answers = () => 200;
      await send(orgId, "third");
      expect(notes).toEqual(["first", "second", "third"]);
      expect(await channelOf(orgId)).toMatchObject({ lastError: "", failingSince: null });
      expect(await attentionOf(orgId)).toEqual([]);
    },
  );

  test("holds back none of the others, neither at once nor when it is down later", async () => {
    const orgId = await orgWith();
    answers = (note) => (note.startsWith("bad") ? 400 : 200);
    const bad = Array.from({ length: 12 }, (_, index) => `bad ${index}`);
    await send(orgId, ...bad, "good");
    expect(notes.toSorted()).toEqual([...bad, "good"].toSorted());
    expect((await channelOf(orgId)).pending).toBe(0);
    await send(orgId, ...bad);
    answers = () => 503;
    await send(orgId, "late");
    expect(await channelOf(orgId)).toMatchObject({ pending: 1, lastError: "it answered with HTTP 503" });
    answers = () => 200;
    // The first rest of a channel that is down, whatever was refused before.
    await db.advanceClock(12_000);
    await send(orgId);
    expect(notes.at(-1)).toBe("late");
    expect(await channelOf(orgId)).toMatchObject({ pending: 0, failingSince: null });
  });

  test("lets the next be tried at once where the one that was probed is refused", async () => {
    const orgId = await orgWith();
    answers = () => 503;
    await send(orgId, "one", "two", "three");
    notes.length = 0;
    answers = () => (notes.length === 3 ? 200 : 400);
    await db.advanceClock(3_600_000);
    await send(orgId);
    expect(notes.toSorted()).toEqual(["one", "three", "two"]);
    expect(await channelOf(orgId)).toMatchObject({ pending: 0, failingSince: null });
  });

  test("by a mail server that does not know the mailbox needs attention too", async () => {
    const smtp = await startSmtpServer();
    try {
      const none = { sendgridKey: undefined, sendgridUrl: "https://x.invalid" };
      const mailer = createMailer({ ...none, smtpUrl: smtp.url, from: "muster@example.com" });
      const orgId = await orgWith({ type: "email", to: ["nobody@example.com"] });
      smtp.recipientCode = 550;
      const of = c;
      c = { ...of, mailer };
      await send(orgId, "lost").finally(() => {
        c = of;
      });
      expect(await attentionOf(orgId)).toEqual([
        "Channel ops (email) takes no messages: the mail server answered 550",
      ]);
    } finally {
      await smtp.stop();
    }
  });

  test("works again once a test message gets through", async () => {
    const orgId = await orgWith();
    answers = () => 400;
    await send(orgId, "first");
    const asked = { name: "ops", rule: "", isDryRun: true, signal };
    await testAlertChannel(c, testCaller(orgId), asked);
    await testAlertChannel(c, testCaller(orgId), { ...asked, isDryRun: false });
    expect(await attentionOf(orgId)).toHaveLength(1);
    answers = () => 200;
    await testAlertChannel(c, testCaller(orgId), { ...asked, isDryRun: false });
    expect(await channelOf(orgId)).toMatchObject({ lastError: "", failingSince: null });
    expect(await attentionOf(orgId)).toEqual([]);
  });
});
