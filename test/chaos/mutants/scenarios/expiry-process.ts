import { loadConfig } from "../../../../server/config.ts";
import type { Coordinator } from "../../../../server/domain/context.ts";
import { createIdGenerator } from "../../../../server/domain/ids.ts";
import { createSettingsCache } from "../../../../server/domain/settings.ts";
import { createSubmitBatcher } from "../../../../server/domain/submit.ts";
import { Expiry } from "../../../../server/maintain/expiry.ts";
import { openDatabase } from "../../../../server/store/database.ts";

// One pass of expiry over an org, without any grace, in a process whose clock may be wrong. Prints what that says.
const { urls, orgId } = JSON.parse(process.argv[2] ?? "{}");
const loaded = loadConfig({ flags: {}, env: { HOME: "/nonexistent" }, readFile: () => "" });
const config = { ...loaded, outageGraceMs: 0 };
const db = openDatabase({ urls, appConnections: 1, hotConnections: 1 });
const newId = createIdGenerator(Date.now);
const quiet = () => {};
const c: Coordinator = {
  coordinatorId: newId(),
  db,
  newId,
  nowMs: Date.now,
  random: Math.random,
  config,
  wakes: { ready: quiet, changed: quiet, cancel: quiet },
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  submits: createSubmitBatcher({ hot: db.hot, newId, submitted: quiet }),
  settings: createSettingsCache({ db, config }),
};
await new Expiry(c, () => performance.now()).pass(orgId);
console.log(JSON.stringify({ nowMs: Date.now() }));
await db.close();
