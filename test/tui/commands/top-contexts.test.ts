import { expect, test } from "vitest";
import { prepareCall } from "../../../tui/call.ts";
import { contextBarrier, contextEntries, inContext } from "../../../tui/commands/top-contexts.ts";
import type { ClientConfig } from "../../../tui/config/files.ts";

const config: ClientConfig = {
  files: [
    {
      level: "user",
      path: "/home/u/.config/muster/config.yaml",
      settings: new Map(),
      contexts: new Map([
        ["prod", new Map([["address", "https://prod.example:7070"]])],
        ["lab", new Map([["address", "https://lab.example:7070"]])],
      ]),
    },
  ],
  warnings: [],
  keys: () => new Map([["lab", { address: "https://lab.example:7070", key: "mk_lab" }]]),
};

function call(env: Record<string, string>, globals: Parameters<typeof prepareCall>[1] = {}) {
  const surroundings = {
    env,
    home: "/nonexistent",
    cwd: "/",
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: new AbortController().signal,
    forced: new AbortController().signal,
    now: Date.now,
  };
  return prepareCall(surroundings, globals, [], () => undefined, { config });
}

test("lists the contexts; one is current unless an address was named", () => {
  const entries = contextEntries(call({ MUSTER_CONTEXT: "prod" }));
  expect(entries).toEqual([
    expect.objectContaining({ name: "prod", address: "https://prod.example:7070", isCurrent: true }),
    expect.objectContaining({ name: "lab", isCurrent: false }),
  ]);
  const named = contextEntries(call({ MUSTER_CONTEXT: "prod" }, { address: "http://127.0.0.1:1" }));
  expect(named.some(({ isCurrent }) => isCurrent)).toBe(false);
});

test("takes no key and no address along to another context, and stays read only", () => {
  const first = call(
    { MUSTER_ADDRESS: "https://prod.example:7070", MUSTER_API_KEY: "mk_prod" },
    { readOnly: true },
  );
  expect(first.context()).toMatchObject({ address: "https://prod.example:7070", key: "mk_prod" });
  const next = inContext(first, "lab").context();
  expect(next).toMatchObject({
    name: "lab",
    address: "https://lab.example:7070",
    key: "mk_lab",
    isReadOnly: true,
  });
  const flags = call({}, { address: "https://prod.example:7070", apiKeyFile: "/nonexistent.key" });
  expect(inContext(flags, "prod").context()).toMatchObject({
    address: "https://prod.example:7070",
    key: undefined,
  });
});

test("says why a context cannot be opened, rather than ending", () => {
  const entries = new Map([["keyFile", "/nonexistent.key"]]);
  const broken: ClientConfig = {
    ...config,
    files: config.files.map((file) => ({ ...file, contexts: new Map([...file.contexts, ["old", entries]]) })),
  };
  const first = { ...call({}, { address: "https://prod.example:7070" }), config: broken };
  expect(contextBarrier(first, "lab")).toBeUndefined();
  expect(contextBarrier(first, "old")).toMatch(/^old: .*nonexistent\.key/);
});
