import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { type AnyTx, inOrg, type Tx } from "../../server/store/database.ts";
import { sql } from "../../server/store/drizzle.ts";
import { readOrgState } from "../../server/store/orgs.ts";
import { workers } from "../../server/store/schema-fleet.ts";
import { call, ForeignOrgError, param, runInOrg, statement, transact } from "../../server/store/statement.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

const server = fileURLToPath(new URL("../../server", import.meta.url));

let db: TestDatabase;
let ours: string;
let theirs: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ours = await db.orgId();
  theirs = await db.orgId();
});
afterAll(() => db.close());

describe("S16 nothing asks the database without an org", () => {
  test("what reads or writes rows of tenants takes a transaction that has named its org: others are a type error", () => {
    expectTypeOf<AnyTx>().not.toExtend<Tx>();
    expectTypeOf<TestDatabase["database"]["app"]>().not.toExtend<Tx>();
    // @ts-expect-error a pool is no transaction of an org
    const unscoped = () => readOrgState(db.database.app, ours);
    // @ts-expect-error nor is a transaction that has named none
    const unnamed = () => db.database.app.transaction((tx) => readOrgState(tx, ours));
    expect([unscoped, unnamed]).toHaveLength(2);
  });

  test("a transaction of another org is refused, before the database could find nothing", async () => {
    const foreign = inOrg(db.database.app, ours, (tx) => readOrgState(tx, theirs));
    await expect(foreign).rejects.toMatchObject({ cause: expect.any(ForeignOrgError) });
    const written = inOrg(db.database.app, ours, (tx) =>
      tx.update(workers).set({ version: "x" }).where(eq(workers.orgId, theirs)),
    );
    await expect(written).rejects.toMatchObject({ cause: expect.any(ForeignOrgError) });
    const flush = statement(sql`select 1 from muster.workers where org_id = ${param("org")}::uuid`);
    const one = call(flush, { org: theirs });
    await expect(runInOrg(db.database.hot, ours, [one])).rejects.toThrow(ForeignOrgError);
    await expect(transact(db.database.hot, ours, (tx) => tx.run(one))).rejects.toThrow(ForeignOrgError);
    expect(await inOrg(db.database.app, ours, (tx) => readOrgState(tx, ours))).toMatchObject({ orgId: ours });
  });

  test("nothing outside of the store uses a pool but to hand it to the store", () => {
    const wrong = sources(server)
      .filter((file) => !file.startsWith(join(server, "store/")))
      .flatMap((file) =>
        readFileSync(file, "utf8")
          .split("\n")
          .flatMap((line, index) => (raw.test(line) ? [`${relative(server, file)}:${index + 1}`] : [])),
      );
    expect(wrong).toEqual([]);
  });

  test("in the store a statement without a transaction of an org is one of those that are listed", () => {
    const wrong = sources(join(server, "store"))
      .flatMap((file) =>
        unscoped(readFileSync(file, "utf8")).map((name) => `${relative(server, file)} ${name}`),
      )
      .filter((name) => !acrossOrgs.has(name.split(" ")[1] ?? ""));
    expect(wrong).toEqual([]);
  });
});

// `db.app.select(…)`, `pool.use(…)`: whatever asks, rather than is handed on.
const raw =
  /\b(?:app|beats|sweep)\s*\.\s*(?:select|selectDistinct|insert|update|delete|execute|transaction|query|with)\b|\b(?:hot|sweepClient|pool)\.use\(|\.unsafe\(/;

/** Functions of the store that take a pool and name no org. */
const acrossOrgs: ReadonlySet<string> = new Set([
  // Orgs themselves, for sweeps and for platform keys.
  ...["listOrgs", "readOrgs", "findOrg", "readOrgsToRemove", "inBothOrgs", "inNamedOrg"],
  // What sweeps look for in all orgs at once: functions of the database that look at each as that org.
  ...["look", "readEndedHolders", "readUnsealedOrgs", "readRegisteredPrefixes"],
  // A key, before its org is known: policies let no other row be seen.
  ...["findKey", "findRegisteredKey"],
  // A person, before an org of theirs is known: likewise. And the org that a provider's people belong to.
  ...["findAccount", "findIdentity", "readMemberships", "findOrgByName"],
  // Tables and facts of the installation: no tenant is in them.
  ...[
    "upsertCoordinator",
    "forgetCoordinators",
    "removeCoordinator",
    "hasPeers",
    "raiseEpoch",
    "readCluster",
  ],
  ...["readDatabaseFacts", "readSizeBytes", "readPartitionNames"],
  // Makes the client that the others get; and transactions, in the org that their settings name.
  ...["poolClient", "transactPrepared"],
]);

/** Exported functions with a pool among their parameters that neither take an org nor make a transaction of one. */
function unscoped(text: string): string[] {
  const functions = text.split(/^(?=export (?:async )?function )/m).slice(1);
  return functions.flatMap((body) => {
    const name = /function (\w+)/.exec(body)?.[1] ?? "";
    const takesPool = /\b\w+: (?:PostgresJsDatabase|HotPool)\b|Pick<Database/.test(
      body.split("{\n")[0] ?? body,
    );
    return takesPool && !/\borgIds?\b|orgId: string/.test(body.split("{\n")[0] ?? "") ? [name] : [];
  });
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return ["dist", "node_modules", "migrations"].includes(entry.name) ? [] : sources(path);
    return /\.ts$/.test(entry.name) ? [path] : [];
  });
}
