import type { DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { AlertCondition, AlertService } from "@muster/client/v1/alert_service";

/** Does every act of alerts once, each by `act`. */
export async function alertActs(
  of: <T extends DescService>(service: T) => Client<T>,
  act: <T>(method: string, call: () => Promise<T>) => Promise<T>,
): Promise<void> {
  const alerts = of(AlertService);
  const email = { case: "email" as const, value: { to: ["ada@example.com"] } };
  const channel = { name: "ops", target: email };
  const rule = { name: "dead", condition: AlertCondition.JOB_DEAD, channels: ["ops"] };
  await act("AlertService.PutAlertChannel", () => alerts.putAlertChannel({ channel }));
  await act("AlertService.PutAlertRule", () => alerts.putAlertRule({ rule }));
  await act("AlertService.TestAlertChannel", () => alerts.testAlertChannel({ name: "ops" }));
  await act("AlertService.SilenceAlerts", () => alerts.silenceAlerts({ rule: "dead" }));
  await act("AlertService.UnsilenceAlerts", () => alerts.unsilenceAlerts({ rule: "dead" }));
  await act("AlertService.SetAlertRuleEnabled", () =>
    alerts.setAlertRuleEnabled({ name: "dead", enabled: false }),
  );
  await act("AlertService.SetAlertChannelEnabled", () =>
    alerts.setAlertChannelEnabled({ name: "ops", enabled: false }),
  );
  await act("AlertService.DeleteAlertRule", () => alerts.deleteAlertRule({ name: "dead" }));
  await act("AlertService.DeleteAlertChannel", () => alerts.deleteAlertChannel({ name: "ops" }));
}
