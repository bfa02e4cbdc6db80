import { AlertService, TestAlertChannelResponseSchema } from "@muster/client/v1/alert_service";
import type { Call } from "../call.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";

/** Shows the sample message of a channel, and sends it unless it is a dry run. */
export async function testChannel(
  call: Call,
  name: string,
  { rule, dryRun }: { readonly rule: string; readonly dryRun: boolean },
): Promise<number> {
  const response = await call.client(AlertService).testAlertChannel({ name, rule, dryRun }, call.once());
  call.output.print({
    schema: TestAlertChannelResponseSchema,
    message: response,
    text: () => response.text.split("\n").map(sanitize),
    names: () => [name],
  });
  if (response.error !== "") {
    throw new CliError(`the message did not get through: ${sanitize(response.error)}`, {
      reason: "NOT_SENT",
      exitCode: exitCodes.partFailed,
      suggestion: `Check the channel with \`muster channel get ${sanitize(name)}\`.`,
    });
  }
  call.output.note(dryRun ? "Nothing was sent." : `Sent to ${sanitize(name)}.`);
  return exitCodes.done;
}
