/** What a kind is called in code: `image.resize` is `runImageResize`, in `kinds/image-resize.ts`. */
export interface KindNames {
  readonly kind: string;
  /** Of its handler. */
  readonly handler: string;
  /** Without its folder and its ending. */
  readonly file: string;
}

/** The names of a kind; null when it is none: 1 to 100 characters of `a-z 0-9 . _ -`, one of them a letter or digit. */
export function kindNames(kind: string): KindNames | null {
  if (!/^[a-z0-9._-]{1,100}$/.test(kind) || !/[a-z0-9]/.test(kind)) return null;
  const words = kind.split(/[^a-z0-9]+/).filter((word) => word !== "");
  const handler = `run${words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join("")}`;
  return { kind, handler, file: words.join("-") };
}

/** The files of a kind, by path: a handler with types, and a test that runs it. */
export function kindFiles({ kind, handler, file }: KindNames): ReadonlyMap<string, string> {
  return new Map([
    [`kinds/${file}.ts`, handlerText(kind, handler)],
    [`kinds/${file}.test.ts`, testText(kind, handler, file)],
  ]);
}

/** The file that names the handlers of a worker. */
export const registryFile = "handlers.ts";

/** The text of that file for a worker of one kind. */
export function registryText(names: KindNames): string {
  const empty = `import type { Handler } from "@muster/worker/context";

/** What runs the jobs, by kind; \`muster kind new\` adds to it. */
export const handlers: Readonly<Record<string, Handler>> = {
};
`;
  const text = register(empty, names);
  if (typeof text !== "string") throw new Error("an empty list of handlers takes every kind");
  return text;
}

/** The text with one kind more; or why it cannot be: it has the kind, or has no list of handlers as we write it. */
export function register(
  text: string,
  names: KindNames,
): string | { readonly problem: "has-kind" | "no-list" } {
  const { kind, handler, file } = names;
  const list = /^export const handlers\b[^=\n]*=\s*\{[ \t]*\r?\n([\s\S]*?)^\}/m.exec(text);
  if (list === null) return { problem: "no-list" };
  if ([`"${kind}"`, `'${kind}'`].some((quoted) => list[0].includes(`${quoted}:`))) {
    return { problem: "has-kind" };
  }
  const end = list.index + list[0].length - 1;
  const entries = list[1] ?? "";
  // The last entry may lack its comma.
  const comma = /[^\s,{]\s*$/.test(entries) ? "," : "";
  const before = text.slice(0, end).trimEnd();
  const listed = `${before}${comma}\n  ${JSON.stringify(kind)}: ${handler},\n${text.slice(end)}`;
  const line = `import { ${handler} } from "./kinds/${file}.ts";\n`;
  const last = [...listed.matchAll(/^import\b[^;]*;[ \t]*\r?\n/gm)].at(-1);
  const at = last === undefined ? 0 : last.index + last[0].length;
  return listed.slice(0, at) + line + listed.slice(at);
}

function handlerText(kind: string, handler: string): string {
  return `import { defineHandler } from "@muster/worker/context";
import { JobFailure } from "@muster/worker/failure";

/** What a job of the kind ${kind} is asked, and what comes of it. */
export type Input = { readonly name: string };
export type Output = { readonly greeting: string };

/** Runs the jobs of the kind ${kind}. */
export const ${handler} = defineHandler<Input, Output>(async (ctx) => {
  const { name } = ctx.payload ?? {};
  if (typeof name !== "string") throw new JobFailure("name must be text", { retryable: false });
  ctx.progress(0.5, \`attempt \${ctx.job.attempt}\`);
  ctx.log(\`greeting \${name}\`);
  return { greeting: \`hello, \${name}\` };
});
`;
}

function testText(kind: string, handler: string, file: string): string {
  return `import assert from "node:assert/strict";
import { test } from "node:test";
import { tryHandler } from "@muster/worker/testing";
import { ${handler} } from "./${file}.ts";

test("${kind} greets who is named", async () => {
  const { result, logs } = await tryHandler(${handler}, { payload: { name: "Ada" } });
  assert.deepEqual(result, { greeting: "hello, Ada" });
  assert.deepEqual(logs, ["greeting Ada"]);
});

test("${kind} fails for good without a name", async () => {
  const { outcome } = await tryHandler(${handler}, { payload: {} });
  assert.equal(outcome.kind, "failed");
  assert.equal(outcome.kind === "failed" && outcome.retryable, false);
});
`;
}
