import { create } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { HelloSchema, WelcomeSchema } from "@muster/client/v1/link";
import { expect, test } from "vitest";
import { rotatingTransport } from "../../../worker/transport/rotate.ts";
import type { Transport } from "../../../worker/transport/transport.ts";
import { ScriptedLink } from "../../support/worker-link.ts";

const hello = create(HelloSchema);
const options = { signal: new AbortController().signal, address: undefined };

/** Three coordinators; `down` are not there. What was tried is written down. */
function coordinators() {
  const tried: string[] = [];
  const down = new Set<string>();
  const to = (name: string): Transport => ({
    async open() {
      tried.push(name);
      if (down.has(name)) throw new ConnectError(`${name} is away`);
      return new ScriptedLink(hello, create(WelcomeSchema), 1);
    },
  });
  return { tried, down, transport: rotatingTransport([to("a"), to("b"), to("c")]) };
}

test("the first is tried first, and the next one after each failure, around", async () => {
  const { tried, down, transport } = coordinators();
  for (const name of ["a", "b", "c"]) down.add(name);
  for (let n = 0; n < 4; n++) await expect(transport.open(hello, options)).rejects.toThrow("is away");
  expect(tried).toEqual(["a", "b", "c", "a"]);
});

test("the next one is tried after a link has ended, and one that works is not left for a better transport", async () => {
  const { tried, down, transport } = coordinators();
  down.add("b");
  const link = await transport.open(hello, options);
  link.close("improve");
  const better = await transport.open(hello, options);
  better.close();
  await expect(transport.open(hello, options)).rejects.toThrow("b is away");
  await transport.open(hello, options);
  expect(tried).toEqual(["a", "a", "b", "c"]);
});
