import type { Client } from "@connectrpc/connect";
import type { ScheduleService } from "@muster/client/v1/schedule_service";

/** Every act on a schedule, each of which writes one row. */
export async function scheduleActs(
  schedules: Client<typeof ScheduleService>,
  act: <T>(method: string, call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  const name = "nightly";
  const schedule = { name, cron: "@yearly", job: { kind: "nobody" } };
  await act("ScheduleService.PutSchedule", () => schedules.putSchedule({ schedule, createOnly: true }));
  await act("ScheduleService.TriggerSchedule", () => schedules.triggerSchedule({ name }));
  await act("ScheduleService.BackfillSchedule", () =>
    schedules.backfillSchedule({
      name,
      startTime: { seconds: 1_700_000_000n },
      endTime: { seconds: 1_750_000_000n },
    }),
  );
  await act("ScheduleService.PauseSchedule", () => schedules.pauseSchedule({ name }));
  await act("ScheduleService.ResumeSchedule", () => schedules.resumeSchedule({ name }));
  await act("ScheduleService.DeleteSchedule", () => schedules.deleteSchedule({ name }));
}
