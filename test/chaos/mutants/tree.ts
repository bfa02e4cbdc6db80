import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Edit } from "./mutants.ts";

const run = promisify(execFile);

/** A copy of the repository's tree in a folder of its own, with its packages. */
export interface Tree extends AsyncDisposable {
  readonly folder: string;
  /** Makes edits; the disposer takes them back. Fails, and changes nothing, when a text is not there exactly once. */
  edit(edits: readonly Edit[]): Promise<AsyncDisposable>;
  /** Builds it. Rejects with what the compiler says. */
  build(): Promise<void>;
  /** Runs a program of the tree's packages, in the tree; resolves with its exit code and what it printed. */
  run(
    program: string,
    ...given: readonly string[]
  ): Promise<{ readonly code: number; readonly output: string }>;
}

/** Copies what git would commit, changed files too; the packages are linked, not copied. */
export async function copyTree(root: string): Promise<Tree> {
  const folder = await mkdtemp(join(tmpdir(), "muster-mutants-"));
  // As root Postgres runs as another account, which must reach its binaries.
  await chmod(folder, 0o755);
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const listed = await run("git", ["ls-files", "-z", "-co", "--exclude-standard"], {
      cwd: root,
      maxBuffer: 1 << 26,
    });
    for (const file of listed.stdout.split("\0").filter((name) => name !== "")) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      // A file that is deleted and not committed yet is listed too.
      await copyFile(join(root, file), join(folder, file)).catch(ignoreMissing);
    }
    await linkPackages(root, folder);
  } catch (error) {
    await remove();
    throw error;
  }
  const runHere: Tree["run"] = (program, ...given) =>
    run(join(folder, "node_modules/.bin", program), [...given], {
      cwd: folder,
      env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}` },
      maxBuffer: 1 << 26,
    }).then(
      ({ stdout, stderr }) => ({ code: 0, output: stdout + stderr }),
      (error: unknown) => failure(error),
    );
  return {
    folder,
    edit: (edits) => applyEdits(folder, edits),
    run: runHere,
    async build() {
      const { code, output } = await runHere("tsc", "-b");
      if (code !== 0) throw new Error(`it does not build:\n${output}`);
    },
    [Symbol.asyncDispose]: remove,
  };
}

/** Replaces texts in a file's content; fails when one of them is not there exactly once. */
export function editText(text: string, edits: readonly Edit[]): string {
  return edits.reduce((edited, { file, find, put }) => {
    const parts = edited.split(find);
    if (parts.length !== 2) {
      throw new Error(`${file} has ${parts.length - 1} times, not once: ${find}`);
    }
    return parts.join(put);
  }, text);
}

async function applyEdits(folder: string, edits: readonly Edit[]): Promise<AsyncDisposable> {
  const byFile = Map.groupBy(edits, ({ file }) => join(folder, file));
  const originals = new Map<string, string>();
  const edited = new Map<string, string>();
  for (const [path, own] of byFile) {
    const text = await readFile(path, "utf8");
    originals.set(path, text);
    edited.set(path, editText(text, own));
  }
  for (const [path, text] of edited) await writeFile(path, text);
  return {
    async [Symbol.asyncDispose]() {
      for (const [path, text] of originals) await writeFile(path, text);
    },
  };
}

// Hard links, so that nothing is copied; what tools keep there would be written through them.
async function linkPackages(root: string, folder: string): Promise<void> {
  const [from, to] = [join(root, "node_modules"), join(folder, "node_modules")];
  await run("cp", ["-al", from, to]).catch(async () => {
    await rm(to, { recursive: true, force: true });
    await run("cp", ["-R", from, to]);
  });
  for (const cache of [".vite", ".vite-temp", ".vitest-cache", ".cache"]) {
    await rm(join(to, cache), { recursive: true, force: true });
  }
}

function failure(error: unknown): { readonly code: number; readonly output: string } {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "number") throw error;
  const [stdout, stderr] = ["stdout" in error ? error.stdout : "", "stderr" in error ? error.stderr : ""];
  return { code: error.code, output: `${stdout}${stderr}` };
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
}
