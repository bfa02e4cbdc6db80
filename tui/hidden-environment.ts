import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const fileVariable = "MUSTER_ENVIRONMENT_FILE";
// What is read before any of our code runs: by the loader, by Node, by its libraries.
const readAtStart =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|TERM|PWD|LC_.*|NODE_.*|SSL_CERT_.*|OPENSSL_.*|UV_.*|MALLOC_.*|GLIBC_.*|LD_.*)$/;

/**
 * Takes what others may read out of this process, before it runs jobs: `/proc/<pid>/environ` shows the environment that
 * a process was started with, whatever it does to it later. Starts the program again in its own place (same pid, same
 * parameters) with nothing there but what is read at the start; the rest comes along in a file that only this user may
 * read, and that `restoreEnvironment` takes back. Does nothing when there is nothing
 * to hide; answers with why not, where it cannot.
 */
export function hideEnvironment(): string | undefined {
  if (process.platform === "win32") return "there is no execve on this system";
  const hidden = Object.entries(process.env).filter(([name]) => !readAtStart.test(name));
  if (hidden.length === 0) return undefined;
  if (typeof process.execve !== "function") return `Node ${process.versions.node} has no process.execve`;
  const file = join(mkdtempSync(join(tmpdir(), "muster-environment-")), "environment.json");
  try {
    writeFileSync(file, JSON.stringify(Object.fromEntries(hidden)), { mode: 0o600 });
    const kept = Object.entries(process.env).flatMap(([name, value]) =>
      readAtStart.test(name) && value !== undefined ? [[name, value]] : [],
    );
    // It is marked experimental, which is nothing to tell whoever runs a worker.
    process.removeAllListeners("warning");
    process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
      ...Object.fromEntries(kept),
      [fileVariable]: file,
    });
  } catch (error) {
    rmSync(dirname(file), { recursive: true, force: true });
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}

/**
 * The other half, first of all in `main`: what was hidden is in `process.env` again, and nowhere else. True when this is
 * the second start.
 */
export function restoreEnvironment(): boolean {
  const file = process.env[fileVariable];
  if (file === undefined) return false;
  delete process.env[fileVariable];
  try {
    const hidden: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof hidden === "object" && hidden !== null) Object.assign(process.env, hidden);
    return true;
  } finally {
    rmSync(dirname(file), { recursive: true, force: true });
  }
}
