import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type Http2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { Clock } from "../../../worker/clock.ts";
import { keyIdentity } from "../../../worker/state-directory.ts";
import type { Counts } from "./fault-proxy.ts";
import { type Carried, FrameFlow, type RuleAtWork } from "./frame-rules.ts";
import { MessageCutter } from "./message-cutter.ts";

const linkPath = `/${WorkerService.typeName}/${WorkerService.method.connect.name}`;
/** Twice what the product lets pass: that limit is not the proxy's to keep. */
const maxMessageBytes = 8 * 1024 * 1024;
/** Bytes of delayed frames beyond which the source waits. */
const maxDelayedBytes = 1024 * 1024;

/** What a stream needs. */
export interface StreamRelayOptions {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** The connection that it goes on. */
  readonly behind: ClientHttp2Session;
  readonly rules: ReadonlySet<RuleAtWork>;
  readonly carried: Carried;
  readonly counts: Counts;
  readonly clock: Clock;
}

/** A call that came in, and the same call to the target. */
export class StreamRelay {
  /** Public part of the worker's key; empty when this is no worker link. */
  readonly link: string;
  bytesUp = 0;
  bytesDown = 0;
  readonly #stream: ServerHttp2Stream;
  readonly #request: ClientHttp2Stream;

  constructor(options: StreamRelayOptions) {
    const { stream, headers, behind, clock } = options;
    const isLink = headers[":path"] === linkPath;
    const link = isLink ? keyIdentity((headers.authorization ?? "").replace(/^Bearer /, "")) : "";
    this.link = link;
    this.#stream = stream;
    this.#request = behind.request(copied(headers), { endStream: false });
    const flow = (direction: "up" | "down"): FrameFlow | undefined =>
      isLink ? new FrameFlow({ ...options, direction, link }) : undefined;
    this.#answer();
    relayBody({
      from: stream,
      to: this.#request,
      flow: flow("up"),
      clock,
      passed: (bytes) => {
        this.bytesUp += bytes;
      },
    });
    relayBody({
      from: this.#request,
      to: stream,
      flow: flow("down"),
      clock,
      passed: (bytes) => {
        this.bytesDown += bytes;
      },
    });
    relayClose(stream, this.#request);
    relayClose(this.#request, stream);
  }

  /** RST_STREAM on both sides. */
  reset(code: number): void {
    this.#stream.close(code);
    this.#request.close(code);
  }

  #answer(): void {
    let trailers: OutgoingHttpHeaders = {};
    this.#request.on("trailers", (received) => {
      trailers = copied(received);
    });
    this.#stream.on("wantTrailers", () => this.#stream.sendTrailers(trailers));
    this.#request.on("response", (headers, flags) => {
      if (this.#stream.destroyed || this.#stream.closed) return;
      // An error without a body has its status in its only headers.
      const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      this.#stream.respond(copied(headers), endStream ? { endStream } : { waitForTrailers: true });
    });
  }
}

interface Body {
  readonly from: Http2Stream;
  readonly to: Http2Stream;
  /** Absent: nothing is looked at. */
  readonly flow: FrameFlow | undefined;
  readonly clock: Clock;
  readonly passed: (bytes: number) => void;
}

// The source waits while the other side is full, or while too much of it is delayed.
function relayBody({ from, to, flow, clock, passed }: Body): void {
  const cutter = new MessageCutter(
    (head) => (head.length < 5 ? undefined : 5 + head.readUInt32BE(1)),
    maxMessageBytes,
  );
  const delayed = new Set<() => void>();
  let delayedBytes = 0;
  let isFull = false;
  let isEnded = false;
  const write = (bytes: Buffer): void => {
    if (to.destroyed || to.writableEnded) return;
    passed(bytes.length);
    if (!to.write(bytes)) isFull = true;
  };
  const proceed = (): void => {
    if (isEnded && delayed.size === 0 && !to.destroyed && !to.writableEnded) {
      for (const { bytes } of flow?.end() ?? []) write(bytes);
      to.end();
    }
    if (isFull || delayedBytes > maxDelayedBytes) from.pause();
    else from.resume();
  };
  const later = (bytes: Buffer, delayMs: number): void => {
    const callOff = clock.after(delayMs, () => {
      delayed.delete(callOff);
      delayedBytes -= bytes.length;
      write(bytes);
      proceed();
    });
    delayed.add(callOff);
    delayedBytes += bytes.length;
  };
  to.once("close", () => {
    for (const callOff of delayed) callOff();
    delayed.clear();
  });
  from.on("data", (chunk: Buffer) => {
    if (flow === undefined) write(chunk);
    else {
      try {
        for (const message of cutter.cut(chunk)) {
          for (const { bytes, delayMs } of flow.arrive(message)) {
            if (delayMs > 0) later(bytes, delayMs);
            else write(bytes);
          }
        }
      } catch {
        // What cannot be read cannot be relayed in part.
        from.close(constants.NGHTTP2_INTERNAL_ERROR);
      }
    }
    proceed();
  });
  to.on("drain", () => {
    isFull = false;
    proceed();
  });
  from.on("end", () => {
    // Node ends what was reset, too; that is told by its close.
    if (from.aborted || (from.rstCode ?? 0) !== constants.NGHTTP2_NO_ERROR) return;
    isEnded = true;
    proceed();
  });
}

// A stream that ended well has told the other side by its end; one that was reset tells it now.
function relayClose(from: Http2Stream, to: Http2Stream): void {
  // What went wrong is in the code of the close.
  from.on("error", () => {});
  from.once("close", () => {
    const code = from.rstCode ?? constants.NGHTTP2_CANCEL;
    if (code !== constants.NGHTTP2_NO_ERROR && !to.closed) to.close(code);
  });
}

// Only the fields that have a name: Node adds a mark of its own.
function copied(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers));
}
