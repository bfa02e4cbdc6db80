import { SystemService, CheckLevel as WireLevel } from "@muster/client/v1/system_service";
import type { Call } from "../call.ts";
import { durationToMs } from "../output/time.ts";
import type { CheckLevel, CheckResult } from "./check.ts";
import { makeChecks } from "./checks.ts";

/** Lets the coordinator check its own side. That it cannot be asked is a failed check, too. */
export async function checkServer(call: Call): Promise<readonly CheckResult[]> {
  const checks = makeChecks(call);
  let found: readonly CheckResult[] = [];
  await checks.add("server.answers", async () => {
    const { checks: made } = await call.client(SystemService).checkServer({}, call.once());
    found = made.map(({ id, level, took, detail, fix }) => ({
      id,
      level: levels[level],
      tookMs: took === undefined ? 0 : Math.round(durationToMs(took)),
      detail,
      fix,
    }));
    return { level: "ok", detail: call.context().address };
  });
  return [...checks.results, ...found];
}

const levels: Readonly<Record<WireLevel, CheckLevel>> = {
  [WireLevel.UNSPECIFIED]: "skip",
  [WireLevel.OK]: "ok",
  [WireLevel.WARN]: "warn",
  [WireLevel.FAIL]: "fail",
  [WireLevel.SKIP]: "skip",
};
