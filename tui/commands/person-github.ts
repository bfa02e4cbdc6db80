import { setTimeout as wait } from "node:timers/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  DeviceLoginState,
  FinishGithubLinkResponseSchema,
  PersonService,
  UnlinkGithubResponseSchema,
} from "@muster/client/v1/person_service";
import type { Cli, MusterCommand } from "../command.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";

/** Registers `muster person link-github` and `unlink-github`. */
export function registerGithub(person: MusterCommand, cli: Cli): void {
  person
    .command("link-github")
    .description("Link your account of GitHub: enter the code there that is shown.")
    .examples("muster person link-github")
    .notes("Muster learns your id and name at GitHub, and keeps nothing else: your tokens stay yours.")
    .action(
      cli.action(async (call) => {
        const people = call.client(PersonService);
        const started = await people.startGithubLink({}, call.once());
        call.output.note(`Enter ${sanitize(started.userCode)} at ${sanitize(started.verificationUri)}`);
        let intervalMs = started.interval === undefined ? 5_000 : durationMs(started.interval);
        for (;;) {
          await wait(intervalMs, undefined, { signal: call.signal });
          const { deviceCode } = started;
          const answer = await people.finishGithubLink({ deviceCode }, call.once());
          if (answer.state === DeviceLoginState.APPROVED) {
            call.output.print({
              schema: FinishGithubLinkResponseSchema,
              message: answer,
              text: () => [`Linked to ${sanitize(answer.githubLogin)} at GitHub.`],
              names: () => [answer.githubLogin],
            });
            return exitCodes.done;
          }
          if (answer.state === DeviceLoginState.EXPIRED_TOKEN) {
            throw new CliError("the code was not entered in time, or was refused", {
              reason: "CODE_EXPIRED",
              exitCode: exitCodes.notAllowed,
              suggestion: "Begin again: muster person link-github",
            });
          }
          if (answer.state !== DeviceLoginState.SLOW_DOWN) continue;
          intervalMs = answer.interval === undefined ? intervalMs + 5_000 : durationMs(answer.interval);
        }
      }),
    );
  person
    .command("unlink-github")
    .description("Unlink your account of GitHub.")
    .examples("muster person unlink-github")
    .action(
      cli.action(async (call) => {
        const response = await call.client(PersonService).unlinkGithub({}, call.once());
        call.output.print({
          schema: UnlinkGithubResponseSchema,
          message: response,
          text: () => ["No account of GitHub is linked."],
          names: () => [],
        });
        return exitCodes.done;
      }),
    );
}
