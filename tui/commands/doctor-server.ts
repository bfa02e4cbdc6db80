import { CheckLevel, SystemService } from "@muster/client/v1/system_service";
import type { Call } from "../call.ts";
import type { CheckResult } from "../doctor/check.ts";
import { durationToMs } from "../output/time.ts";

/** Has the coordinator check its side, for `muster doctor server`. Rejects as calls do. */
export async function checkServer(call: Call): Promise<CheckResult[]> {
  const { checks } = await call.client(SystemService).checkServer({}, call.once());
  return checks.map(({ id, level, took, detail, fix }) => ({
    id,
    level: levels[level] ?? "skip",
    tookMs: took === undefined ? 0 : durationToMs(took),
    detail,
    fix,
  }));
}

const levels: Readonly<Partial<Record<CheckLevel, CheckResult["level"]>>> = {
  [CheckLevel.OK]: "ok",
  [CheckLevel.WARN]: "warn",
  [CheckLevel.FAIL]: "fail",
  [CheckLevel.SKIP]: "skip",
};
