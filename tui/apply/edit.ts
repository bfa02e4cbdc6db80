import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import type { Call } from "../call.ts";
import { CliError, usageError, type Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { askLine, canAsk } from "../input/ask.ts";
import { editorOf, runEditor } from "../input/editor.ts";
import type { JsonObject } from "../input/message-document.ts";
import { sanitize } from "../output/sanitize.ts";
import { showYaml } from "../output/yaml.ts";
import { readDocuments, type WantedDocument } from "./documents.ts";
import { makePlan, placed } from "./plan.ts";
import type { Resource } from "./resource.ts";
import { planLines } from "./show.ts";

/** How a sort of thing is edited as text. */
export interface Edited {
  readonly resource: Resource;
  /** The noun of its commands: `schedule`. */
  readonly noun: string;
  /** Changes with every change of the thing. */
  readonly version: () => Promise<string>;
  /** Saves it if its version is still this one; else rejects with the reason ETAG_MISMATCH. */
  readonly save: (spec: JsonObject, version: string) => Promise<void>;
}

/** What may be said beside the text. */
export interface EditText {
  readonly isDryRun: boolean;
  readonly reason: string;
}

/**
 * Opens a thing in the user's editor as YAML, shows what is different, asks, and saves it. What is wrong stands as a
 * comment above the text when it opens again. What was written and is not saved stays in a file. Throws a usage error
 * without a terminal or an editor.
 */
export async function editAsText(call: Call, edited: Edited, name: string, how: EditText): Promise<number> {
  const { resource, noun } = edited;
  const { surroundings } = call;
  const editor = editorOf(surroundings.env);
  if (call.globals.input === false || !canAsk(surroundings) || editor === undefined) {
    throw usageError(
      "what is to change? Nothing is given",
      editor === undefined
        ? `Give options (muster ${noun} edit --help), or set EDITOR to edit it as text.`
        : `Give options (muster ${noun} edit --help); as text it is edited in a terminal alone.`,
    );
  }
  let version = await edited.version();
  // What is read to be compared alone is nothing to write.
  const read = Object.entries((await resource.read(call, name)) ?? {});
  const before = Object.fromEntries(read.filter(([field]) => !resource.without.includes(field)));
  const folder = await mkdtemp(join(tmpdir(), "muster-edit-"));
  const path = join(folder, `${resource.kind}.yaml`);
  const open = async (text: string): Promise<string> => {
    await writeFile(path, text, { mode: 0o600 });
    const code = await runEditor(editor, path, surroundings.env);
    surroundings.signal.throwIfAborted();
    if (code !== 0) throw notSaved(`the editor ended with ${code}`, path);
    return withoutHead(await readFile(path, "utf8"));
  };
  const close = async (words: string): Promise<number> => {
    await rm(folder, { recursive: true, force: true });
    call.output.note(words);
    return exitCodes.done;
  };

  let body = `${showYaml({ kind: resource.kind, name, spec: before })}\n`;
  let problems: readonly Violation[] = [];
  for (;;) {
    const text = await open(withHead(body, problems));
    if (text.trim() === "" || (text === body && problems.length === 0)) return close("Nothing was changed.");
    if (text === body) throw notSaved("it is still wrong", path, placedBelow(problems, 0));
    body = text;
    const parsed = readOne(body, call, resource, name);
    if ("problems" in parsed) {
      problems = parsed.problems;
      continue;
    }
    const plan = await makePlan(call, [resource], [parsed.document]).catch((error: unknown) => {
      throw notSaved(ConnectError.from(error).rawMessage, path, [], error);
    });
    problems = plan.violations;
    if (problems.length > 0) continue;
    if (plan.changes.every(({ action }) => action === "none")) return close("It was so already.");
    for (const line of planLines(plan, call.output)) call.output.data(line);
    if (how.isDryRun) return close("Nothing was changed: this is what it would be.");
    const answer = await askSave(call);
    if (answer === "no") {
      throw new CliError("nothing was changed", {
        ...{ reason: "DECLINED", exitCode: exitCodes.interrupted },
        suggestion: `What you wrote is in ${path}.`,
      });
    }
    if (answer === "edit") continue;
    const refused = await save(call, edited, parsed.document, version);
    if (refused === undefined) return close(`Saved ${sanitize(name)}.`);
    if (refused instanceof Error) throw notSaved(ConnectError.from(refused).rawMessage, path, [], refused);
    problems = refused.problems;
    if (refused.isStale) version = await edited.version();
  }
}

interface Refused {
  readonly problems: readonly Violation[];
  /** Somebody changed it meanwhile. */
  readonly isStale: boolean;
}

// What is wrong with the text is for the editor; what is wrong elsewhere ends it.
async function save(
  call: Call,
  edited: Edited,
  document: WantedDocument,
  version: string,
): Promise<Refused | Error | undefined> {
  try {
    await edited.save(document.spec, version);
    return undefined;
  } catch (error) {
    call.signal.throwIfAborted();
    if (readError(error).detail?.reason === "ETAG_MISMATCH") {
      const message = "somebody changed it meanwhile; saved now, it is as it stands here";
      return { problems: [{ field: "", message }], isStale: true };
    }
    const problems = placed(error, edited.resource, document);
    if (problems !== null) return { problems, isStale: false };
    return error instanceof Error ? error : new Error(String(error));
  }
}

function readOne(
  text: string,
  call: Call,
  resource: Resource,
  name: string,
): { readonly document: WantedDocument } | { readonly problems: readonly Violation[] } {
  const { env, now } = call.surroundings;
  // It is beside no file.
  const fileText = () => ({ problem: "!file is for files: write the text itself" });
  const input = { name: "text", kinds: [resource], nowMs: now(), env, fileText };
  const { documents, violations } = readDocuments(text, input);
  if (violations.length > 0) return { problems: violations };
  const [document, ...more] = documents;
  if (document === undefined || more.length > 0) {
    return { problems: [{ field: "", message: `must be one document: the ${resource.kind} ${name}` }] };
  }
  if (document.name === name) return { document };
  const message = `its name stays ${name}: one of another name is another ${resource.kind}`;
  return { problems: [{ field: document.place, message }] };
}

async function askSave({ surroundings }: Call): Promise<"yes" | "no" | "edit"> {
  const answer = (await askLine(surroundings, "Save it? [y/N, e: edit again] "))?.trim() ?? "";
  if (/^y(es)?$/i.test(answer)) return "yes";
  return /^e(dit)?$/i.test(answer) ? "edit" : "no";
}

const hints = [
  "# Save it and leave the editor: what is different is shown before it counts. Lines with # above the",
  "# text do not matter. Leave it as it is, or empty, and nothing is changed.",
];

function withHead(body: string, problems: readonly Violation[]): string {
  if (problems.length === 0) return [...hints, body].join("\n");
  const count = hints.length + problems.length + 1;
  const told = placedBelow(problems, count).map(({ field, message }) =>
    sanitize(`#   ${field === "" ? "" : `${field}: `}${message}`),
  );
  return [...hints, "# It was not saved:", ...told, body].join("\n");
}

// Problems name lines of the text; above it are some more.
function placedBelow(problems: readonly Violation[], count: number): Violation[] {
  return problems.map(({ field, message }) => {
    const [, line] = /^text:(\d+):\d+$/.exec(field) ?? [];
    return { field: line === undefined ? field : `line ${Number(line) + count}`, message };
  });
}

function withoutHead(text: string): string {
  return text.replace(/^(#.*\n)+/, "");
}

function notSaved(
  message: string,
  path: string,
  violations: readonly Violation[] = [],
  cause?: unknown,
): CliError {
  return new CliError(`${message}: nothing was changed`, {
    ...{ reason: "NOT_SAVED", exitCode: exitCodes.usage, violations },
    suggestion: `What you wrote is in ${path}.`,
    ...(cause === undefined ? {} : { cause }),
  });
}
