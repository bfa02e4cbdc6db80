import { fromJson } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { AlertService } from "@muster/client/v1/alert_service";
import { ScheduleSchema, ScheduleService } from "@muster/client/v1/schedule_service";
import type { Call } from "../call.ts";
import { resourceOf } from "./create.ts";
import { type Edited, type EditText, editAsText } from "./edit.ts";

/** Edits a schedule as text. */
export function editSchedule(call: Call, name: string, how: EditText): Promise<number> {
  const client = call.client(ScheduleService);
  const edited: Edited = {
    resource: resourceOf("schedule"),
    noun: "schedule",
    version: async () => (await client.getSchedule({ name }, call.once())).schedule?.etag ?? "",
    save: async (spec, etag) => {
      const schedule = Object.assign(fromJson(ScheduleSchema, { ...spec, name }), { etag });
      await client.putSchedule({ schedule, reason: how.reason }, call.once());
    },
  };
  return editAsText(call, edited, name, how);
}

/** Edits an alert rule as text. */
export function editRule(call: Call, name: string, how: EditText): Promise<number> {
  return editAlerting(call, "alert", name, how, async () => {
    const { rule } = await call.client(AlertService).getAlertRule({ name }, call.once());
    return rule?.updateTime;
  });
}

/** Edits a channel as text. Its secrets do not stand there, and stay unless they are written. */
export function editChannel(call: Call, name: string, how: EditText): Promise<number> {
  return editAlerting(call, "channel", name, how, async () => {
    const { channel } = await call.client(AlertService).getAlertChannel({ name }, call.once());
    return channel?.updateTime;
  });
}

// Rules and channels have no etag: the time of their last change is looked at right before they are saved.
function editAlerting(
  call: Call,
  kind: "alert" | "channel",
  name: string,
  how: EditText,
  changed: () => Promise<Timestamp | undefined>,
): Promise<number> {
  const resource = resourceOf(kind);
  const version = async (): Promise<string> => {
    const time = await changed();
    return `${time?.seconds} ${time?.nanos}`;
  };
  const save: Edited["save"] = async (spec, before) => {
    if ((await version()) !== before) {
      throw makeError(Code.Aborted, "it was changed meanwhile", { reason: "ETAG_MISMATCH" });
    }
    await resource.put(call, name, spec, how.reason);
  };
  return editAsText(call, { resource, noun: kind, version, save }, name, how);
}
