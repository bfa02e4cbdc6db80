import { createTransport } from "nodemailer";

/** An e-mail. */
export interface Mail {
  /** One address, or several. */
  readonly to: string | readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html?: string;
  /** Letters, digits, `_` and `-`: the same each time that this mail is tried, so that receivers know a repetition. */
  readonly messageId?: string;
}

/** Who sends e-mails. */
export interface Mailer {
  /** False: nothing is configured, and `send` throws. */
  readonly isConfigured: boolean;
  /** Resolves once the server took it. Throws `MailError`. */
  send(mail: Mail): Promise<void>;
}

/** A mail that was not sent. `isFinal`: trying again does not help. */
export class MailError extends Error {
  override readonly name = "MailError";
  readonly isFinal: boolean;

  constructor(message: string, isFinal: boolean, options?: ErrorOptions) {
    super(message, options);
    this.isFinal = isFinal;
  }
}

/** How mails leave: by an SMTP server or by SendGrid, whichever is given. */
export interface MailOptions {
  /** `smtp://user:password@host:587`, or `smtps:`. */
  readonly smtpUrl: string | undefined;
  readonly sendgridKey: string | undefined;
  /** `https://api.sendgrid.com`. */
  readonly sendgridUrl: string;
  /** `muster@example.com`, or `Muster <muster@example.com>`. */
  readonly from: string | undefined;
}

/** Time for each step of a conversation with a mail server. */
const timeoutMs = 15_000;

/** The mailer of a configuration. Connects to nothing until a mail is sent. */
export function createMailer(options: MailOptions): Mailer {
  const { smtpUrl, sendgridKey, from } = options;
  if (from === undefined || (smtpUrl === undefined && sendgridKey === undefined)) {
    return {
      isConfigured: false,
      send: async () => {
        throw new MailError("no mail server is configured: set MUSTER_SMTP_URL and MUSTER_MAIL_FROM", false);
      },
    };
  }
  const deliver = smtpUrl === undefined ? bySendgrid(options, from) : bySmtp(smtpUrl, from);
  return {
    isConfigured: true,
    async send(mail) {
      const wrong = refusalOf(mail);
      if (wrong !== null) throw new MailError(wrong, true);
      await deliver(mail);
    },
  };
}

/** Whether text is one address of a mailbox, and nothing else. */
export function isMailAddress(text: string): boolean {
  return /^[^\s@<>"(),:;\\[\]\p{Cc}]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/u.test(text);
}

function addressesOf({ to }: Mail): readonly string[] {
  return typeof to === "string" ? [to] : to;
}

function refusalOf(mail: Mail): string | null {
  const addresses = addressesOf(mail);
  if (addresses.length === 0 || addresses.length > 50) return "a mail goes to 1 to 50 addresses";
  if (!addresses.every(isMailAddress)) return "an address is not one of a mailbox";
  if (/\p{Cc}/u.test(mail.subject)) return "the subject has control characters";
  if (mail.messageId !== undefined && !/^[\w-]{1,128}$/.test(mail.messageId))
    return "the id has odd characters";
  return null;
}

function bySmtp(url: string, from: string): (mail: Mail) => Promise<void> {
  const transport = createTransport({
    url,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const host = from.replace(/^.*@|>$/g, "");
  return async (mail) => {
    const { subject, text, html, messageId } = mail;
    try {
      await transport.sendMail({
        from,
        to: [...addressesOf(mail)],
        subject,
        text,
        ...(html === undefined ? {} : { html }),
        ...(messageId === undefined ? {} : { messageId: `<${messageId}@${host}>` }),
      });
    } catch (error) {
      throw smtpError(error);
    }
  };
}

// The server's own words may hold anything; its code says what matters.
function smtpError(error: unknown): MailError {
  const code = codeOf(error, "responseCode");
  const isFinal = typeof code === "number" && code >= 550 && code < 560;
  const why = typeof code === "number" ? `answered ${code}` : `could not be used (${codeOf(error, "code")})`;
  return new MailError(`the mail server ${why}`, isFinal, { cause: error });
}

function codeOf(error: unknown, name: string): unknown {
  return typeof error === "object" && error !== null ? Reflect.get(error, name) : undefined;
}

function bySendgrid({ sendgridKey, sendgridUrl }: MailOptions, from: string): (mail: Mail) => Promise<void> {
  const [, name = "", email = from] = /^(.*?)\s*<(.*)>$/.exec(from) ?? [];
  return async (mail) => {
    const { subject, text, html, messageId } = mail;
    const content = [
      { type: "text/plain", value: text },
      ...(html === undefined ? [] : [{ type: "text/html", value: html }]),
    ];
    const body = {
      personalizations: [{ to: addressesOf(mail).map((address) => ({ email: address })) }],
      from: name === "" ? { email } : { email, name },
      subject,
      content,
      ...(messageId === undefined ? {} : { custom_args: { message_id: messageId } }),
    };
    const response = await fetch(`${sendgridUrl}/v3/mail/send`, {
      method: "POST",
      headers: { authorization: `Bearer ${sendgridKey}`, "content-type": "application/json" },
      body: JSON.stringify(body),
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((error: unknown) => {
      throw new MailError("SendGrid could not be reached", false, { cause: error });
    });
    await response.body?.cancel();
    if (response.ok) return;
    const isFinal = response.status === 400 || response.status === 413;
    throw new MailError(`SendGrid answered ${response.status}`, isFinal);
  };
}
