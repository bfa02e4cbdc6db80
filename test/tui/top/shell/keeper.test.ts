import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { fileKeeper } from "../../../../tui/top/shell/keeper.ts";

const folder = mkdtempSync(join(tmpdir(), "muster-keeper-"));

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("keeps a text for its user alone, and lives without a place for it", () => {
  const path = join(folder, "state", "muster", "snoozed.json");
  const keeper = fileKeeper(path);
  expect(keeper.read()).toBe("");
  keeper.write("one");
  keeper.write("two");
  expect(keeper.read()).toBe("two");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const nowhere = fileKeeper(join(path, "below-a-file"));
  nowhere.write("lost");
  expect(nowhere.read()).toBe("");
});
