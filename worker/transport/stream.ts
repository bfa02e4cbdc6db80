import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import { type ConnectRequest, ConnectRequestSchema, type ConnectResponse } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import type { Clock } from "../clock.ts";
import { defaultWorkerPort, parseAddress } from "./address.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import { encodeRequest } from "./frame-encoder.ts";
import { FrameQueue } from "./frame-queue.ts";
import { authorization, connectErrorOf, type GrpcCredentials, openChannel } from "./grpc.ts";
import { GoingAwayError, type Link, type OpenOptions, type Transport } from "./transport.ts";

/** Frames that wait for the reader before the stream is asked to pause. */
const maxWaitingFrames = 256;
/** Time that a coordinator has to end a stream which was closed. */
const closeGraceMs = 1000;

/** What a streaming transport needs. */
export interface StreamOptions extends GrpcCredentials {
  /** Host and port of either listener. */
  readonly address: string;
  /** How long the Welcome may take. */
  readonly welcomeTimeoutMs: number;
  readonly clock: Clock;
}

/** Links over `WorkerService.Connect`, each on a channel of its own. */
export function streamTransport(options: StreamOptions): Transport {
  return {
    open: async (hello, { signal, address }: OpenOptions) => {
      const stream = openStream(options, address ?? options.address);
      const giveUp = (error: ConnectError) => {
        stream.frames.end(error);
        stream.cancel();
      };
      const onAbort = () => giveUp(new ConnectError("the worker stops", Code.Canceled));
      const late = `no Welcome came within ${options.welcomeTimeoutMs} ms`;
      const callOff = options.clock.after(options.welcomeTimeoutMs, () =>
        giveUp(new ConnectError(late, Code.DeadlineExceeded)),
      );
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        if (signal.aborted) onAbort();
        void stream.send(create(ConnectRequestSchema, { frame: { case: "hello", value: hello } }));
        return await welcomed(stream);
      } catch (error) {
        stream.cancel();
        throw error;
      } finally {
        callOff();
        signal.removeEventListener("abort", onAbort);
      }
    },
  };
}

interface OpenStream {
  readonly frames: FrameQueue<ConnectResponse>;
  send(frame: ConnectRequest): Promise<void>;
  /** Ends our side, and soon after the whole stream. */
  close(): void;
  /** Ends the stream at once. */
  cancel(): void;
}

async function welcomed(stream: OpenStream): Promise<Link> {
  const { frames, send, close } = stream;
  const first = await frames[Symbol.asyncIterator]().next();
  const frame = first.done === true ? undefined : first.value.frame;
  if (frame?.case === "goingAway") throw new GoingAwayError(frame.value);
  if (frame?.case !== "welcome") {
    throw new ConnectError("the stream ended without a Welcome", Code.Unavailable);
  }
  return { welcome: frame.value, transport: "stream", improveAfterMs: undefined, frames, send, close };
}

function openStream(options: StreamOptions, address: string): OpenStream {
  const channel = openChannel(parseAddress(address, defaultWorkerPort), options);
  const decoder = new FrameDecoder();
  const call: ClientDuplexStream<ConnectRequest, ConnectResponse> = channel.makeBidiStreamRequest(
    `/${WorkerService.typeName}/${WorkerService.method.connect.name}`,
    encodeRequest,
    (bytes: Buffer) => decoder.decode(bytes),
    authorization(options.key),
  );
  const frames = new FrameQueue<ConnectResponse>(() => {
    if (call.isPaused()) call.resume();
  });
  const writing = new Set<() => void>();
  let isOver = false;
  let callOffCancel = () => {};
  const end = (error?: ConnectError) => {
    isOver = true;
    callOffCancel();
    frames.end(error);
    for (const resolve of writing) resolve();
    writing.clear();
    channel.close();
  };
  call.on("data", (frame: ConnectResponse) => {
    frames.push(frame);
    if (frames.size >= maxWaitingFrames) call.pause();
  });
  // An error overtakes frames that are still in the stream's buffer, a GoingAway above all: those go first.
  let failure: ConnectError | undefined;
  call.on("error", (error: ServiceError) => {
    failure = connectErrorOf(error);
    setImmediate(end, failure);
  });
  call.on("end", () => end(failure));
  return {
    frames,
    send: (frame) =>
      new Promise((resolve) => {
        if (isOver) {
          resolve();
          return;
        }
        writing.add(resolve);
        call.write(frame, () => {
          writing.delete(resolve);
          resolve();
        });
      }),
    close: () => {
      if (isOver) return;
      isOver = true;
      frames.end();
      call.end();
      // A peer that is gone never ends its side.
      callOffCancel = options.clock.after(closeGraceMs, () => call.cancel());
    },
    cancel: () => {
      isOver = true;
      call.cancel();
    },
  };
}
