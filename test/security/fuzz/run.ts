import { create, type DescMethod, fromBinary } from "@bufbuild/protobuf";
import type { ServerReflection } from "@muster/client/grpc/reflection";
import { ConnectRequestSchema, HelloSchema } from "@muster/client/v1/link";
import { WorkerService } from "@muster/client/v1/worker_service";
import { apiServices } from "../../../server/rpc/routes.ts";
import { type Random, seededRandom } from "../../chaos/random.ts";
import { Harvest } from "./harvest.ts";
import { binaryOf, jsonOf, makeMessage, shortened, type Temper } from "./requests.ts";
import { type Form, makeCall, Sessions, type WireAnswer } from "./wire.ts";

/** What is fuzzed, and for how long. */
export interface FuzzOptions {
  /** `http://host:port` of the API listener. */
  readonly apiAddress: string;
  /** `http://host:port` of the worker listener. */
  readonly workerAddress: string;
  /** An admin key that no request of the fuzzer revokes, because `spared` names it. */
  readonly adminKey: string;
  /** Ids that requests never name. */
  readonly spared: readonly string[];
  /** Makes a worker's key; asked again when one has ceased to be valid. */
  readonly workerKey: () => Promise<string>;
  /** How many requests: a frame of a stream is one. */
  readonly requests: number;
  readonly seed: number | string;
  /** Calls at once. */
  readonly concurrency?: number;
  /** Services besides those of the API. */
  readonly reflection?: typeof ServerReflection;
  /** Aborted: ends early, with what came of it so far. */
  readonly signal?: AbortSignal;
  readonly progress?: (done: number) => void;
}

/** A request that ended as none may. */
export interface FuzzFailure {
  readonly method: string;
  readonly form: Form;
  readonly code: string;
  readonly text: string;
  /** The message, in hexadecimal. */
  readonly message: string;
}

/** What came of it. */
export interface FuzzReport {
  readonly requests: number;
  readonly calls: number;
  readonly seed: number | string;
  /** How calls ended. `left`: a stream that was given up while it lived. */
  readonly codes: Readonly<Record<string, number>>;
  /** How many calls of each method ended well: the fuzzer reached its inside. */
  readonly reached: Readonly<Record<string, number>>;
  readonly methods: number;
  /** The first of them. */
  readonly failures: readonly FuzzFailure[];
  readonly failed: number;
}

/** Codes that only a fault of the coordinator gives. `cut`: its connection broke. */
const faults: readonly string[] = ["internal", "unknown", "unavailable", "data_loss", "cut"];

/** Sends requests made from the descriptors of every service, by every protocol, and counts how they end. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const random = seededRandom(options.seed);
  const harvest = new Harvest();
  const methods = [...apiServices, ...(options.reflection === undefined ? [] : [options.reflection])].flatMap(
    (service) => service.methods,
  );
  const api = new Sessions(options.apiAddress, 4);
  const links = new Sessions(options.workerAddress, 2);
  const workerKeys = await Promise.all(Array.from({ length: 3 }, () => options.workerKey()));
  const codes: Record<string, number> = {};
  const reached: Record<string, number> = {};
  const failures: FuzzFailure[] = [];
  let failed = 0;
  let requests = 0;
  let calls = 0;
  let nextProgress = 10_000;

  const oneCall = async (): Promise<void> => {
    const method = pickMethod(methods, random);
    const name = `${method.parent.typeName}/${method.name}`;
    const temper: Temper = { hostility: random.pick([0, 0.02, 0.1, 0.4]) };
    const isWorkers = method.parent.typeName === WorkerService.typeName;
    const form = formOf(method, random);
    const messages = messagesOf(method, form, random, harvest, temper, options.spared);
    requests += Math.max(1, messages.length);
    calls++;
    const index = random.int(0, workerKeys.length - 1);
    const key = keyOf(isWorkers, workerKeys[index], options.adminKey, random);
    const sessions = isWorkers && (form === "grpc" ? random.chance(0.7) : false) ? links : api;
    const answer = await makeCall(sessions.next(), {
      path: `/${name}`,
      form,
      key,
      messages,
      patienceMs: method.methodKind === "unary" ? 30_000 : random.int(5, 60),
      ...(random.chance(0.02) ? { timeoutMs: random.pick([0, 1, 50, 86_400_001, 2 ** 31]) } : {}),
    });
    codes[answer.code] = (codes[answer.code] ?? 0) + 1;
    if (answer.code === "ok" || answer.code === "left") reached[name] = (reached[name] ?? 0) + 1;
    if (answer.code === "unauthenticated" && isWorkers && key === workerKeys[index]) {
      workerKeys[index] = await options.workerKey();
    }
    if (faults.includes(answer.code)) {
      failed++;
      if (failures.length < 50) failures.push(failureOf(name, form, answer, messages));
    }
    learn(method, form, answer, harvest, random);
  };
  const lane = async (): Promise<void> => {
    while (requests < options.requests && options.signal?.aborted !== true) {
      await oneCall();
      if (requests < nextProgress) continue;
      nextProgress += 10_000;
      options.progress?.(requests);
    }
  };
  try {
    for (const [path, body] of beginnings) {
      const form = "connect-json" as const;
      const call = { path, form, key: options.adminKey, messages: [Buffer.from(body)], patienceMs: 30_000 };
      const { message } = await makeCall(api.next(), call);
      if (message !== undefined) harvest.gather(JSON.parse(message.toString("utf8")));
    }
    await Promise.all(Array.from({ length: options.concurrency ?? 48 }, lane));
  } finally {
    api.close();
    links.close();
  }
  return { requests, calls, seed: options.seed, codes, reached, methods: methods.length, failures, failed };
}

/** What exists before the first request, or nothing that asks for a job would get further than its id. */
const beginnings: readonly (readonly [path: string, body: string])[] = [
  ...Array.from({ length: 20 }, (_, n): readonly [string, string] => [
    "/muster.v1.JobService/SubmitJob",
    JSON.stringify({
      job: { kind: "echo", queue: n % 2 ? "default" : "low", priority: n, payload: { json: n } },
    }),
  ]),
  ["/muster.v1.BatchService/SubmitBatch", '{"jobs":[{"kind":"echo"},{"kind":"shell.run"}]}'],
  ["/muster.v1.ProjectService/PutProject", '{"project":{"name":"acme/web"}}'],
  ["/muster.v1.JobService/ListJobs", "{}"],
];

// The checks of a whole server are slow, and take nothing to be wrong about.
function pickMethod(methods: readonly DescMethod[], random: Random): DescMethod {
  const method = random.pick(methods);
  return method.name === "CheckServer" && random.chance(0.95) ? pickMethod(methods, random) : method;
}

function formOf(method: DescMethod, random: Random): Form {
  if (method.methodKind !== "unary") return random.pick(["connect-stream", "grpc"]);
  return random.pick(["connect-proto", "connect-proto", "connect-json", "grpc"]);
}

function keyOf(
  isWorkers: boolean,
  workerKey: string | undefined,
  adminKey: string,
  random: Random,
): string | undefined {
  if (random.chance(0.98)) return isWorkers ? workerKey : adminKey;
  const other = isWorkers ? adminKey : (workerKey ?? "none");
  return random.pick(["", "mk_api_x_y_z", "a b", other]) || undefined;
}

function messagesOf(
  method: DescMethod,
  form: Form,
  random: Random,
  harvest: Harvest,
  temper: Temper,
  spared: readonly string[],
): Buffer[] {
  const count = method.methodKind === "bidi_streaming" ? random.int(1, 8) : 1;
  return Array.from({ length: count }, (_, index) => {
    const message = shortened(method, makeMessage(method.input, random, harvest, temper));
    if (method.input === ConnectRequestSchema && index === 0 && random.chance(0.9))
      makeHello(message, random);
    const bytes =
      form === "connect-json"
        ? jsonOf(method.input, message, random, temper)
        : binaryOf(method.input, message, random, temper);
    return spared.some((id) => bytes.includes(id)) ? Buffer.alloc(0) : bytes;
  });
}

// Most links begin as they should, or nothing behind the Hello would be reached.
function makeHello(message: object, random: Random): void {
  const value = create(HelloSchema, {
    protocol: { major: 1 },
    bootId: `11111111-2222-4333-8444-${String(random.int(0, 999_999)).padStart(12, "0")}`,
    orphansDead: true,
    kinds: ["echo", "shell.run"],
    capacity: { slots: 4, points: 4 },
    version: "1",
    host: "fuzz",
    demand: { slots: 4, points: 4 },
  });
  Reflect.set(message, "frame", { case: "hello", value });
}

function learn(method: DescMethod, form: Form, answer: WireAnswer, harvest: Harvest, random: Random): void {
  if (answer.message === undefined || !random.chance(0.3)) return;
  try {
    const message: unknown =
      form === "connect-json"
        ? JSON.parse(answer.message.toString("utf8"))
        : fromBinary(method.output, answer.message);
    harvest.gather(message);
  } catch {
    // Cut short: the stream was left in the midst of a message.
  }
}

function failureOf(method: string, form: Form, answer: WireAnswer, messages: readonly Buffer[]): FuzzFailure {
  return {
    method,
    form,
    code: answer.code,
    text: answer.text.slice(0, 500),
    message: messages.map((one) => one.toString("hex").slice(0, 2_000)).join(" "),
  };
}
