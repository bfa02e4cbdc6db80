import {
  ChangePasswordResponseSchema,
  PersonService,
  ResetPasswordResponseSchema,
} from "@muster/client/v1/person_service";
import type { Cli } from "../command.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { askHidden, canAsk } from "../input/ask.ts";
import { readText } from "../input/files.ts";
import { obtainPassword } from "./login-ways.ts";

/** Registers `muster password`. */
export function registerPassword(cli: Cli): void {
  const password = cli.program.command("password").description("Change or reset your password.");
  password
    .command("change")
    .description("Change your password. Your logins on other machines end.")
    .examples("muster password change", "muster password change --stdin < both-lines")
    .option("--stdin", "read the present one from the first line of stdin, the new one from the second")
    .action(
      cli.action(async (call, options: { readonly stdin?: boolean }) => {
        const asked = async () => {
          if (options.stdin === true) {
            const [present = "", next = ""] = (await readText("-", "--stdin", call.surroundings)).split(
              /\r?\n/,
            );
            return { password: present, newPassword: next };
          }
          if (call.globals.input === false || !canAsk(call.surroundings)) {
            throw new CliError("both passwords are needed, and there is nobody to ask", {
              reason: "PASSWORD_MISSING",
              exitCode: exitCodes.notAllowed,
              suggestion: "Give them with --stdin, a line each.",
            });
          }
          const present = (await askHidden(call.surroundings, "Present password: ")) ?? "";
          return { password: present, newPassword: await obtainPassword(call, {}, "New password: ", true) };
        };
        const response = await call.client(PersonService).changePassword(await asked(), call.once());
        const { ended } = response;
        call.output.print({
          schema: ChangePasswordResponseSchema,
          message: response,
          text: () => [`The password is changed; ${ended} other ${ended === 1 ? "login" : "logins"} ended.`],
          names: () => [],
        });
        return exitCodes.done;
      }),
    );
  password
    .command("reset <code>")
    .description("Set a new password by a code that an admin of your org has made. All your logins end.")
    .examples("muster password reset CODE", "muster password reset CODE --password-stdin < password")
    .option("--password-stdin", "read the password from the first line of stdin")
    .action(
      cli.action(async (call, code: string, options: { readonly passwordStdin?: boolean }) => {
        const newPassword = await obtainPassword(call, options, "New password: ", true);
        const response = await call.client(PersonService).resetPassword({ code, newPassword }, call.once());
        const { ended } = response;
        call.output.print({
          schema: ResetPasswordResponseSchema,
          message: response,
          text: () => [`The password is set; ${ended} ${ended === 1 ? "login" : "logins"} ended.`],
          names: () => [],
        });
        return exitCodes.done;
      }),
    );
}
