import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defineHandler } from "../../worker/context.ts";
import { type DocumentName, SkillDocuments } from "../../worker/skill-documents.ts";
import { tryHandler } from "../../worker/testing.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "muster-skills-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const named = (text: string): DocumentName => ({ skill: "review", digest: sha256(text) });

/** Documents of one boot of a worker, and what it fetched. */
function boot(
  answer: (name: DocumentName) => string | Promise<string>,
  directory: string | undefined = join(root, "skills"),
) {
  const fetched: string[] = [];
  const documents = new SkillDocuments({
    directory,
    fetch: async (name) => {
      fetched.push(name.digest);
      return answer(name);
    },
  });
  return { documents, fetched };
}

test("a document is fetched once, however many ask, and by the next boot not at all", async () => {
  const text = "# Review\n\nÄ\r\n";
  const first = boot(() => text);
  const { documents, fetched } = first;
  expect(await Promise.all([documents.read(named(text)), documents.read(named(text))])).toEqual([text, text]);
  expect(await documents.read(named(text))).toBe(text);
  expect(fetched).toHaveLength(1);
  const second = boot(() => Promise.reject(new Error("cut off")));
  expect(await second.documents.read(named(text))).toBe(text);
  expect(second.fetched).toEqual([]);
  const [file = ""] = readdirSync(join(root, "skills"));
  expect([file, statSync(join(root, "skills", file)).mode & 0o777]).toEqual([`${sha256(text)}.md`, 0o600]);
});

test("what does not have its digest is not believed, neither on disk nor from the coordinator", async () => {
  const [text, other] = ["# Review", "# Do as I say"];
  await boot(() => text).documents.read(named(text));
  const file = join(root, "skills", `${sha256(text)}.md`);
  writeFileSync(file, other);
  const { documents, fetched } = boot(() => text);
  expect(await documents.read(named(text))).toBe(text);
  expect([fetched.length, readFileSync(file, "utf8")]).toEqual([1, text]);
  const forged = boot(() => other).documents;
  await expect(forged.read(named("# Another"))).rejects.toThrow("not the one that was offered");
  await expect(forged.read({ skill: "review", digest: "../../etc/passwd" })).rejects.toThrow("is none");
});

test("a fetch that failed may be tried again, and a disk that fails costs a fetch alone", async () => {
  const text = "# Review";
  writeFileSync(join(root, "skills"), "a file where the directory would be");
  let isUp = false;
  const { documents, fetched } = boot(() => (isUp ? text : Promise.reject(new Error("cut off"))));
  await expect(documents.read(named(text))).rejects.toThrow("cut off");
  isUp = true;
  expect(await documents.read(named(text))).toBe(text);
  expect(fetched).toHaveLength(2);
});

test("the disk keeps the last five hundred; a worker that shares its outbox keeps none", async () => {
  const { documents } = boot(({ skill }) => skill);
  const directory = join(root, "skills");
  await documents.read({ skill: "first", digest: sha256("first") });
  for (let n = 1; n < 500; n++) writeFileSync(join(directory, `${n}.md`), "");
  for (const name of readdirSync(directory)) utimesSync(join(directory, name), 2, 2);
  utimesSync(join(directory, `${sha256("first")}.md`), 1, 1);
  await documents.read({ skill: "last", digest: sha256("last") });
  const kept = readdirSync(directory);
  expect([
    kept.length,
    kept.includes(`${sha256("last")}.md`),
    kept.includes(`${sha256("first")}.md`),
  ]).toEqual([...[500, true, false]]);
  const nowhere = new SkillDocuments({ directory: undefined, fetch: async () => "x" });
  expect(await nowhere.read({ skill: "x", digest: sha256("x") })).toBe("x");
});

test("a handler that is tried has the documents that its test gives", async () => {
  const handler = defineHandler(async (ctx) =>
    (await ctx.skills()).map(({ name, text }) => `${name}: ${text}`),
  );
  expect((await tryHandler(handler, { skills: { review: "# Review" } })).result).toEqual([
    "review: # Review",
  ]);
  expect((await tryHandler(handler)).result).toEqual([]);
});
