import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createMailer, isMailAddress, MailError, type MailOptions } from "../../server/outbound/mail.ts";
import { type SmtpServer, startSmtpServer } from "../support/smtp.ts";

const none: MailOptions = {
  smtpUrl: undefined,
  sendgridKey: undefined,
  sendgridUrl: "https://sendgrid.invalid",
  from: "Muster <muster@example.com>",
};

describe("mail by SMTP", () => {
  let smtp: SmtpServer;
  beforeEach(async () => {
    smtp = await startSmtpServer();
  });
  afterEach(() => smtp.stop());

  test("carries text and HTML, sender, recipients and the id of the message", async () => {
    const mailer = createMailer({ ...none, smtpUrl: smtp.url });
    await mailer.send({
      to: ["ada@example.com", "grace@example.com"],
      subject: "3 jobs are dead",
      text: "Three jobs.\n.\nA line that begins with a dot.",
      html: "<p>Three jobs.</p>",
      messageId: "alt_01",
    });
    const [mail] = smtp.mails;
    expect(mail?.from).toBe("muster@example.com");
    expect(mail?.to).toEqual(["ada@example.com", "grace@example.com"]);
    expect(mail?.headers.get("subject")).toBe("3 jobs are dead");
    expect(mail?.headers.get("from")).toBe("Muster <muster@example.com>");
    expect(mail?.headers.get("message-id")).toBe("<alt_01@example.com>");
    expect(mail?.headers.get("content-type")).toMatch(/^multipart\/alternative/);
    expect(mail?.raw).toContain("\r\n.\r\nA line that begins with a dot.");
  });

  test("refuses what would write headers of its own, before the server hears of it", async () => {
    const mailer = createMailer({ ...none, smtpUrl: smtp.url });
    const mail = { to: "ada@example.com", subject: "x", text: "x" };
    for (const wrong of [
      { ...mail, subject: "x\r\nBcc: all@example.com" },
      { ...mail, to: "ada@example.com\r\nRCPT TO:<eve@example.com>" },
      { ...mail, to: "ada@example.com, eve@example.com" },
      { ...mail, to: [] },
      { ...mail, messageId: "x>\r\nBcc: y" },
    ]) {
      await expect(mailer.send(wrong)).rejects.toMatchObject({ name: "MailError", isFinal: true });
    }
    expect(smtp.mails).toEqual([]);
  });

  test("tells a refusal for good from one for now", async () => {
    const mailer = createMailer({ ...none, smtpUrl: smtp.url });
    const mail = { to: "ada@example.com", subject: "x", text: "x" };
    smtp.recipientCode = 550;
    await expect(mailer.send(mail)).rejects.toMatchObject({ isFinal: true });
    smtp.recipientCode = 451;
    await expect(mailer.send(mail)).rejects.toMatchObject({ isFinal: false });
  });
});

test("mail without a server is refused with what to set", async () => {
  const mailer = createMailer(none);
  expect(mailer.isConfigured).toBe(false);
  await expect(mailer.send({ to: "a@example.com", subject: "x", text: "x" })).rejects.toThrow(
    /MUSTER_SMTP_URL/,
  );
});

test("mail by SendGrid is its v3 call, and keeps its answers to itself", async () => {
  const calls: { url: string; authorization: string; body: unknown }[] = [];
  let status = 202;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const authorization = String(request.headers.authorization);
    calls.push({
      url: String(request.url),
      authorization,
      body: JSON.parse(Buffer.concat(chunks).toString()),
    });
    response.writeHead(status).end("the key SG.secret is wrong");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const sendgridUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const mailer = createMailer({ ...none, sendgridKey: "SG.secret", sendgridUrl });
    const mail = { to: "ada@example.com", subject: "Dead", text: "t", html: "<p>t</p>", messageId: "m1" };
    await mailer.send(mail);
    expect(calls).toEqual([
      {
        url: "/v3/mail/send",
        authorization: "Bearer SG.secret",
        body: {
          personalizations: [{ to: [{ email: "ada@example.com" }] }],
          from: { email: "muster@example.com", name: "Muster" },
          subject: "Dead",
          content: [
            { type: "text/plain", value: "t" },
            { type: "text/html", value: "<p>t</p>" },
          ],
          custom_args: { message_id: "m1" },
        },
      },
    ]);
    status = 401;
    const error: unknown = await mailer.send(mail).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(MailError);
    expect(String(error)).not.toContain("SG.secret");
    expect(error).toMatchObject({ isFinal: false });
  } finally {
    server.close();
  }
});

test.each([
  ["ada@example.com", true],
  ["ada+alerts@mail.example.com", true],
  ["ada@example.com,eve@example.com", false],
  ["Ada <ada@example.com>", false],
  ["ada", false],
  ["ada@", false],
  ["a\0da@example.com", false],
])("%s is one address of a mailbox: %s", (text, is) => expect(isMailAddress(text)).toBe(is));
