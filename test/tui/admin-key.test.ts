import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { dropLocalKey, keepLocalKey } from "../../tui/commands/local-key.ts";
import { findContext } from "../../tui/context.ts";
import { makeDirectory } from "./run-cli.ts";

let directory: ReturnType<typeof makeDirectory>;

beforeEach(() => {
  directory = makeDirectory();
});

afterEach(() => directory.remove());

const onDatabase = { dataDir: "/nonexistent", databaseUrl: "postgres://db" };

function surroundings() {
  return {
    env: { XDG_STATE_HOME: directory.path },
    home: "/nonexistent",
    cwd: directory.path,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: new AbortController().signal,
    forced: new AbortController().signal,
    now: Date.now,
  };
}

function started(bootstrapKey: string | null, apiAddress = "http://127.0.0.1:7070") {
  return { apiAddress, bootstrapKey, adminKeyFile: null };
}

function keep(coordinator: Parameters<typeof keepLocalKey>[0]) {
  const kept = keepLocalKey(coordinator, onDatabase, surroundings());
  if (kept === undefined) throw new Error("no key was kept");
  return kept;
}

function keyAt(address: string): string | undefined {
  return findContext({ address }, surroundings()).key;
}

// A coordinator that was started before: its key is in its data directory alone.
function startedAgain(key: string) {
  const adminKeyFile = join(directory.path, `${key}.kept`);
  writeFileSync(adminKeyFile, `${key}\n`, { mode: 0o600 });
  return { ...started(null), adminKeyFile };
}

// Of a coordinator on DATABASE_URL this file is the only copy of the admin key.
test("a passing coordinator leaves the admin key of another one where it is", () => {
  const lasting = keep(started("mk_lasting", "http://127.0.0.1:7070"));
  const passing = keep(started("mk_passing", "http://127.0.0.1:7080"));
  expect([keyAt("localhost:7070"), keyAt("localhost:7080")]).toEqual(["mk_lasting", "mk_passing"]);
  dropLocalKey(passing);
  expect(readFileSync(lasting.path, "utf8")).toBe("mk_lasting\n");
  expect(keyAt("localhost:7080")).toBeUndefined();
});

test("the file of an address is for this user alone, and one for all names of this machine", () => {
  const { path } = keep(started("mk_a", "http://localhost:7070"));
  expect(path).toBe(join(directory.path, "muster", "keys", "127.0.0.1_7070.key"));
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
  expect(keep(started("mk_a", "http://[::1]:7070"))).toMatchObject({ path, isWritten: false });
});

test("a key made at this start moves the one of the same address aside, each to a name of its own", () => {
  const first = keep(started("mk_first"));
  const second = keep(started("mk_second"));
  const third = keep(started("mk_third"));
  expect(second.aside).toBe(`${first.path}.old-1`);
  expect(third.aside).toBe(`${first.path}.old-2`);
  expect(readFileSync(`${first.path}.old-1`, "utf8")).toBe("mk_first\n");
  expect(readFileSync(`${first.path}.old-2`, "utf8")).toBe("mk_second\n");
  expect(keyAt("localhost:7070")).toBe("mk_third");
});

test("what was moved aside comes back when the key is dropped", () => {
  const { path } = keep(started("mk_lasting"));
  dropLocalKey(keep(started("mk_passing")));
  expect(readFileSync(path, "utf8")).toBe("mk_lasting\n");
  expect(readdirSync(dirname(path))).toHaveLength(1);
});

test("only a file that this start wrote, and that still holds its key, is dropped", () => {
  const { path } = keep(started("mk_a"));
  const same = keep(startedAgain("mk_a"));
  dropLocalKey(same);
  expect(existsSync(path)).toBe(true);
  const written = keep(started("mk_b"));
  keep(started("mk_c"));
  dropLocalKey(written);
  expect(readFileSync(path, "utf8")).toBe("mk_c\n");
});

test("a key of an earlier start is left for commands, but never in the place of another one", () => {
  const again = startedAgain("mk_kept");
  const kept = keep(again);
  expect(kept).toMatchObject({ isFound: true, isWritten: true });
  expect(keyAt("localhost:7070")).toBe("mk_kept");
  const other = startedAgain("mk_other");
  expect(keep(other)).toMatchObject({ key: "mk_other", path: other.adminKeyFile, isFound: false });
  expect(readFileSync(kept.path, "utf8")).toBe("mk_kept\n");
  expect(readdirSync(dirname(kept.path))).toHaveLength(1);
});

test("beside an embedded database the key of earlier starts is found when the coordinator names no file", () => {
  const dataDir = join(directory.path, "data");
  mkdirSync(dataDir);
  writeFileSync(join(dataDir, "admin.key"), "mk_kept\n");
  const embedded = { dataDir, databaseUrl: undefined };
  expect(keepLocalKey(started(null), embedded, surroundings())?.key).toBe("mk_kept");
});

test("no key is kept for other machines, nor one that nobody told", () => {
  expect(keepLocalKey(started("mk_a", "http://10.0.0.1:7070"), onDatabase, surroundings())).toBeUndefined();
  expect(keepLocalKey(started(null), onDatabase, surroundings())).toBeUndefined();
  expect(existsSync(join(directory.path, "muster"))).toBe(false);
});
