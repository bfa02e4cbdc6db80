import { MessageCutter } from "./message-cutter.ts";

/** Above what Postgres takes in one field; a message has to be kept whole. */
const maxMessageBytes = 64 * 1024 * 1024;
const sslRequest = 80_877_103;
const gssRequest = 80_877_104;
const protocol3 = 196_608;

/** What the server says that the proxy cares for. */
export type ServerSays = "committed" | "notification" | "other";

/** The messages of one connection to Postgres, without TLS. */
export class PostgresSession {
  readonly #up = new MessageCutter((head) => this.#upLength(head), maxMessageBytes);
  readonly #down = new MessageCutter((head) => this.#downLength(head), maxMessageBytes);
  #hasStarted = false;
  #asksForTls = false;
  #user = "";

  /** The role that logged in; empty before. */
  get user(): string {
    return this.#user;
  }

  /** The messages from the client that are complete with this chunk. */
  up(chunk: Buffer): Buffer[] {
    // Only the start is of interest: what follows goes on as it comes.
    if (this.#hasStarted) return [chunk];
    const messages = this.#up.cut(chunk);
    for (const message of messages) this.#readStart(message);
    return messages;
  }

  /** The messages from the server that are complete with this chunk. */
  down(chunk: Buffer): { readonly bytes: Buffer; readonly says: ServerSays }[] {
    return this.#down.cut(chunk).map((bytes) => ({ bytes, says: saysOf(bytes) }));
  }

  #upLength(head: Buffer): number | undefined {
    // What comes behind the start in one chunk.
    if (this.#hasStarted) return head.length;
    if (head.length < 8) return undefined;
    const length = head.readInt32BE(0);
    if (head.readInt32BE(4) === protocol3 && head.length >= length) this.#hasStarted = true;
    return length;
  }

  #readStart(message: Buffer): void {
    const code = message.length < 8 ? 0 : message.readInt32BE(4);
    this.#asksForTls = code === sslRequest || code === gssRequest;
    if (code !== protocol3 || this.#user !== "") return;
    const texts = message.subarray(8).toString("utf8").split("\0");
    const at = texts.findIndex((text, index) => index % 2 === 0 && text === "user");
    this.#user = texts[at + 1] ?? "";
  }

  #downLength(head: Buffer): number | undefined {
    if (this.#asksForTls) {
      // One letter: no TLS here, or the rest would not be readable.
      this.#asksForTls = false;
      return 1;
    }
    return head.length < 5 ? undefined : 1 + head.readInt32BE(1);
  }
}

/** What a server says to a client that it throws out: `terminating connection due to administrator command`. */
export function terminationMessage(): Buffer {
  const text = "terminating connection due to administrator command";
  const fields = Buffer.from(`SFATAL\0VFATAL\0C57P01\0M${text}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(4 + fields.length, 1);
  return Buffer.concat([head, fields]);
}

const commandComplete = "C".charCodeAt(0);
const notificationResponse = "A".charCodeAt(0);

// A transaction that was rolled back by its COMMIT has the tag ROLLBACK; both protocols use the same message.
function saysOf(message: Buffer): ServerSays {
  if (message[0] === notificationResponse) return "notification";
  return message[0] === commandComplete && message.toString("latin1", 5) === "COMMIT\0"
    ? "committed"
    : "other";
}
