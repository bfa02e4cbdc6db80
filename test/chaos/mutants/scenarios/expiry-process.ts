import { createIdGenerator } from "../../../../server/domain/ids.ts";
import { Expiry } from "../../../../server/maintain/expiry.ts";
import { openDatabase } from "../../../../server/store/database.ts";
import { testCoordinator } from "../../../support/database.ts";

// One pass of expiry over an org, without any grace, in a process whose clock may be wrong. Prints what that says.
const { urls, orgId } = JSON.parse(process.argv[2] ?? "{}");
const database = openDatabase({ urls, appConnections: 1, hotConnections: 1 });
const parts = { database, newId: createIdGenerator(Date.now), nowMs: Date.now };
const c = testCoordinator(parts, { config: { outageGraceMs: 0 } });
await new Expiry(c, () => performance.now()).pass(orgId);
console.log(JSON.stringify({ nowMs: Date.now() }));
await database.close();
