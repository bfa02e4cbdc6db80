import { createServer } from "node:http";
import { create, type DescField, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { services } from "../../tui/rpc/services.ts";

/** A coordinator that says yes to everything, and whose every text is made to upset a terminal. */
export interface HostilePeer {
  readonly address: string;
  /** Begins a run: `onLoop` is called when it asks for the same again and again, which would have no end. */
  begin(onLoop: () => void): void;
  close(): Promise<void>;
}

/** Which of its values an enum and a oneof has in the answers: the n-th, counted round. */
export interface HostileChoice {
  readonly text: string;
  readonly nth: number;
}

/** Starts one on a free port. */
export async function startHostilePeer(choice: () => HostileChoice): Promise<HostilePeer> {
  const calls = new Map<string, number>();
  let loops = (): void => {};
  const count = (method: DescMethod, most: number): void => {
    const times = (calls.get(method.name) ?? 0) + 1;
    calls.set(method.name, times);
    if (times > most) loops();
  };
  const peer: HostilePeer = {
    address: "",
    begin: (onLoop) => {
      calls.clear();
      loops = onLoop;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  const answer = (method: DescMethod) => {
    if (method.methodKind === "unary") {
      return () => {
        count(method, 3);
        return fill(method.output, choice(), 0);
      };
    }
    return async function* () {
      count(method, 1);
      yield fill(method.output, choice(), 0);
    };
  };
  const adapter = connectNodeAdapter({
    routes: (router) => {
      for (const service of services) {
        for (const method of service.methods) router.rpc(method, answer(method) as never);
      }
    },
  });
  const server = createServer(adapter);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return Object.assign(peer, {
    address: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
  });
}

/** A message with something in every field. */
export function fill(desc: DescMessage, choice: HostileChoice, depth: number): Message {
  if (desc.typeName === "google.protobuf.Timestamp") {
    return create(desc, { seconds: BigInt(Math.floor(Date.now() / 1000) - 90), nanos: 0 });
  }
  if (desc.typeName === "google.protobuf.Duration") return create(desc, { seconds: 90n, nanos: 0 });
  const init: Record<string, unknown> = {};
  for (const field of desc.fields) {
    if (field.oneof !== undefined || (field.message !== undefined && depth > 4)) continue;
    init[field.localName] = filled(field, choice, depth);
  }
  for (const oneof of desc.oneofs) {
    const field = oneof.fields[choice.nth % oneof.fields.length];
    if (field === undefined || (field.message !== undefined && depth > 4)) continue;
    init[oneof.localName] = { case: field.localName, value: filled(field, choice, depth) };
  }
  return create(desc, init);
}

function filled(field: DescField, choice: HostileChoice, depth: number): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return scalarOf(field, choice);
    case "enum":
      return enumOf(
        field.enum.values.map(({ number }) => number),
        choice,
      );
    case "message":
      return fill(field.message, choice, depth + 1);
    case "list":
      if (field.listKind === "scalar") return [scalarOf(field, choice)];
      if (field.listKind === "enum")
        return [
          enumOf(
            field.enum.values.map(({ number }) => number),
            choice,
          ),
        ];
      return [fill(field.message, choice, depth + 1), fill(field.message, choice, depth + 1)];
    case "map":
      return {
        [choice.text]: field.mapKind === "message" ? fill(field.message, choice, depth + 1) : choice.text,
      };
  }
}

function scalarOf(field: DescField, { text }: HostileChoice): unknown {
  // A token would make lists go on for ever.
  if (/page_token$/.test(field.name)) return "";
  switch (typeof field.scalar === "number" ? field.scalar : 0) {
    case 9:
      return text;
    case 12:
      return new TextEncoder().encode(text);
    case 8:
      return true;
    case 3:
    case 4:
    case 6:
    case 16:
    case 18:
      return 7n;
    case 1:
    case 2:
      return 0.5;
    default:
      return 7;
  }
}

// Not the first: nobody sets it.
function enumOf(numbers: readonly number[], { nth }: HostileChoice): number {
  return numbers[1 + (nth % Math.max(1, numbers.length - 1))] ?? 0;
}
