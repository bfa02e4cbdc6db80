import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

/** A mail as a server took it. */
export interface TakenMail {
  readonly from: string;
  readonly to: readonly string[];
  /** By name in lower case; folded lines joined. */
  readonly headers: ReadonlyMap<string, string>;
  /** Headers and body as they came, dots at line starts undone. */
  readonly raw: string;
}

/** An SMTP server on loopback that keeps what it is given. */
export interface SmtpServer {
  /** `smtp://127.0.0.1:<port>` */
  readonly url: string;
  readonly mails: readonly TakenMail[];
  /** What it answers to a recipient: 250, or a refusal like 550 or 451. */
  recipientCode: number;
  /** Waits until so many mails have come. */
  came(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Speaks SMTP strictly, by RFC 5321: a command out of order is answered 503. */
export async function startSmtpServer(): Promise<SmtpServer> {
  const mails: TakenMail[] = [];
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    converse(
      socket,
      () => running.recipientCode,
      (mail) => {
        mails.push(mail);
        for (const check of waiting) check();
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const running: SmtpServer = {
    url: `smtp://127.0.0.1:${port}`,
    mails,
    recipientCode: 250,
    came(count) {
      return new Promise((resolve) => {
        const check = () => {
          if (mails.length < count) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      });
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return running;
}

function converse(socket: Socket, recipientCode: () => number, taken: (mail: TakenMail) => void): void {
  let from: string | null = null;
  let to: string[] = [];
  let isData = false;
  let buffered = "";
  const say = (line: string) => socket.write(`${line}\r\n`);
  say("220 test ESMTP");
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    buffered += chunk;
    for (;;) {
      const end = buffered.indexOf(isData ? "\r\n.\r\n" : "\r\n");
      if (end < 0) return;
      const part = buffered.slice(0, end);
      buffered = buffered.slice(end + (isData ? 5 : 2));
      if (isData) {
        const raw = part.replaceAll(/(^|\r\n)\.\./g, "$1.");
        taken({ from: from ?? "", to, headers: headersOf(raw), raw });
        [isData, from, to] = [false, null, []];
        say("250 taken");
        continue;
      }
      const mailFrom = /^MAIL FROM:<([^>]*)>/i.exec(part);
      const recipient = /^RCPT TO:<([^>]*)>/i.exec(part);
      if (/^(EHLO|HELO) /i.test(part)) say("250 test");
      else if (mailFrom) {
        from = mailFrom[1] ?? "";
        say("250 ok");
      } else if (recipient && from !== null) {
        const code = recipientCode();
        if (code === 250) to.push(recipient[1] ?? "");
        say(`${code} recipient`);
      } else if (/^DATA$/i.test(part) && to.length > 0) {
        isData = true;
        say("354 go on");
      } else if (/^RSET$/i.test(part)) {
        [from, to] = [null, []];
        say("250 ok");
      } else if (/^QUIT$/i.test(part)) {
        say("221 bye");
        socket.end();
      } else say("503 out of order");
    }
  });
}

function headersOf(raw: string): ReadonlyMap<string, string> {
  const head = (raw.split("\r\n\r\n")[0] ?? "").replaceAll(/\r\n[ \t]+/g, " ");
  return new Map(
    head.split("\r\n").map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
    }),
  );
}
