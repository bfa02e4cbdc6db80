import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import {
  Health,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Serving,
} from "@muster/client/grpc/health";
import { grpcJsDefinition } from "@muster/client/grpc-js";
import { type ConnectRequest, type ConnectResponse, ConnectResponseSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";

/** A target for frames: welcomes each link and echoes its heartbeats. */
export interface EchoPeer {
  readonly address: string;
  /** Of each link. */
  readonly authorizations: string[];
  /** How links ended: `end`, `cancelled`. */
  readonly endings: string[];
  /** A write had to wait. */
  readonly blocked: boolean;
  /** Ends all links with an error. */
  fail(code: number, details: string): void;
  /** Sends a frame so often to the newest link, as fast as it is taken. */
  flood(count: number, frame: FrameInit): Promise<void>;
  close(): Promise<void>;
}

type FrameInit = NonNullable<MessageInitShape<typeof ConnectResponseSchema>["frame"]>;
type Call = ServerDuplexStream<ConnectRequest, ConnectResponse>;

/** Listens on a free port. */
export async function openEchoPeer(): Promise<EchoPeer> {
  const server = new Server();
  const calls: Call[] = [];
  const authorizations: string[] = [];
  const endings: string[] = [];
  let isBlocked = false;
  server.addService(grpcJsDefinition(WorkerService), {
    connect(call: Call) {
      calls.push(call);
      authorizations.push(String(call.metadata.get("authorization")[0]));
      const send = (frame: FrameInit) => call.write(create(ConnectResponseSchema, { frame }));
      call.on("data", ({ frame }: ConnectRequest) => {
        if (frame.case === "hello") send({ case: "welcome", value: {} });
        if (frame.case === "heartbeat") {
          send({ case: "heartbeatAck", value: { sequence: frame.value.sequence } });
        }
      });
      call.on("end", () => {
        endings.push("end");
        call.end();
      });
      call.on("cancelled", () => endings.push("cancelled"));
      call.on("error", () => {});
    },
  });
  server.addService(grpcJsDefinition(Health), {
    check(call: { request: { service: string } }, answer: (error: object | null, value?: object) => void) {
      if (call.request.service !== "") answer({ code: 5, details: "unknown service" });
      else answer(null, create(HealthCheckResponseSchema, { status: Serving.SERVING }));
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    authorizations,
    endings,
    get blocked() {
      return isBlocked;
    },
    fail(code, details) {
      for (const call of calls) call.emit("error", Object.assign(new Error(details), { code, details }));
    },
    async flood(count, frame) {
      const call = calls.at(-1);
      if (call === undefined) throw new Error("there is no link");
      const message = create(ConnectResponseSchema, { frame });
      for (let n = 0; n < count; n++) {
        if (call.write(message)) continue;
        isBlocked = true;
        await new Promise((resolve) => call.once("drain", resolve));
      }
    },
    async close() {
      server.forceShutdown();
    },
  };
}
