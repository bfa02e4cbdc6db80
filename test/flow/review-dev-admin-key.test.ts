import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dropLocalKey, keepLocalKey } from "../../tui/commands/coordinator.ts";

type Around = Parameters<typeof keepLocalKey>[2];

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-review-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Of a coordinator on DATABASE_URL this file is the only copy of the admin key.
test("a passing coordinator leaves the admin key of another one where it is", () => {
  // What the functions read of the surroundings: the environment alone.
  const surroundings = { env: { HOME: folder, XDG_STATE_HOME: join(folder, "state") } } as unknown as Around;
  const lasting = { apiAddress: "http://127.0.0.1:7070", bootstrapKey: "mk_api_lasting", adminKeyFile: null };
  const kept = keepLocalKey(
    lasting,
    { dataDir: join(folder, "data"), databaseUrl: "postgres://db" },
    surroundings,
  );
  const passing = { apiAddress: "http://127.0.0.1:7080", bootstrapKey: "mk_api_passing", adminKeyFile: null };
  keepLocalKey(passing, { dataDir: join(folder, "dev"), databaseUrl: undefined }, surroundings);
  dropLocalKey("mk_api_passing", surroundings);
  expect(readFileSync(kept?.path ?? "", "utf8").trim()).toBe("mk_api_lasting");
});
