import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { countLines, listFiles, takeInputs } from "./inputs.ts";

const signal = new AbortController().signal;

async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "muster-inputs-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
}

describe("listFiles", () => {
  test("lists the tracked files of a checkout, without those that are deleted or links", async () => {
    const root = await folderWith({ "b.txt": "b", "a/c d.txt": "c", "gone.txt": "", "untracked.txt": "" });
    await symlink("b.txt", join(root, "link.txt"));
    const git = (...args: string[]) => execFileSync("git", ["-C", root, ...args]);
    git("init", "-q");
    git("add", "b.txt", "a", "gone.txt", "link.txt");
    await rm(join(root, "gone.txt"));
    expect(await listFiles(root, signal)).toEqual({ source: "git", paths: ["a/c d.txt", "b.txt"] });
  });

  test("walks the tree outside of a checkout, without packages and what is built", async () => {
    const root = await folderWith({
      "b.txt": "b",
      "a/c.txt": "c",
      "a/node_modules/x.js": "",
      "dist/y.js": "",
      ".ci/run": "",
    });
    expect(await listFiles(root, signal)).toEqual({ source: "walk", paths: [".ci/run", "a/c.txt", "b.txt"] });
  });
});

describe("takeInputs", () => {
  test("copies each file and computes what the ordinary commands say of it", async () => {
    const files = { empty: "", "a/two lines.txt": "one\ntwo\n", "no end.txt": "one\ntwo", "x.gz": "no gzip" };
    const root = await folderWith(files);
    const folder = await folderWith({});
    const paths = Object.keys(files);
    const inputs = await takeInputs(root, paths, folder, signal);
    expect(inputs.map((input) => input.path)).toEqual(paths);
    for (const { path, sizeBytes, expected } of inputs) {
      const copy = join(folder, "inputs", path);
      expect(await readFile(copy, "utf8")).toBe(await readFile(join(root, path), "utf8"));
      const say = (script: string) => execFileSync("sh", ["-c", script, "sh", copy], { encoding: "utf8" });
      expect({ sizeBytes, ...expected }).toEqual({
        sizeBytes: Number(say('wc -c <"$1"')),
        sha256: say('(command -v sha256sum >/dev/null && sha256sum <"$1") || shasum -a 256 <"$1"').split(
          " ",
        )[0],
        lines: Number(say('wc -l <"$1"')),
        gzipBytes: Number(say('gzip -c <"$1" | wc -c')),
      });
    }
  });

  test("rejects when a file cannot be read", async () => {
    const folder = await folderWith({});
    await expect(takeInputs(folder, ["absent"], folder, signal)).rejects.toThrow("absent");
  });
});

test.each([
  ["", 0],
  ["\n", 1],
  ["a\nb", 1],
  ["a\r\nb\n", 2],
])("counts the newlines of %j", (text, lines) => {
  expect(countLines(Buffer.from(text))).toBe(lines);
});
